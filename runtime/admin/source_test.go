package admin_test

import (
	"testing"

	"policyengine.dev/runtime/admin"
)

// TestSource proves that the pages say what is known of a control plane: whether it is
// connected, what an update waits for, and that a stored configuration is in force.
func TestSource(t *testing.T) {
	p := newPage(t, false)
	p.source = &admin.SourceDump{Server: "cp:1", Problem: "cp:1: <refused>", Waiting: []string{`chain "b"`}, Kept: &admin.KeptDump{Version: "v7", Seconds: 90}}
	p.want("/readyz", 503, `control plane: not connected: cp:1: <refused>; in force is the kept configuration v7, 1m30s old; an update waits for chain "b"`)
	p.want("/config_dump", 200, `"connected": false`, `"ageSeconds": 90`)
	p.want("/", 200, "not connected: cp:1: &lt;refused&gt;")
	p.source = &admin.SourceDump{Server: "cp:1", Connected: true}
	p.want("/readyz", 503, "control plane: connected to cp:1")
}
