package configcmd_test

import (
	"strings"
	"testing"
)

// TestDiff proves that the command passes on what the engine reports, and its exit code.
func TestDiff(t *testing.T) {
	dir := files(t, map[string]string{
		"old.yaml": chains + routes,
		"new.yaml": strings.Replace(chains, "version: v1", "version: v1, mode: shadow", 1) + routes,
	})
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"old.yaml", "new.yaml"}, 0, "! chain \"payments\" step \"request-id\" mode: enforce -> shadow\n"},
		{[]string{"old.yaml", "new.yaml", "--fail-on-widening"}, 3, "changes: 1; may widen what is let through: 1\n"},
		{[]string{"old.yaml", "new.yaml", "--json"}, 0, `"mayWiden": true`},
		{[]string{"old.yaml", "none.yaml"}, 1, "no such file"},
		{[]string{"old.yaml", "new.yaml", "--config", "none.yaml"}, 1, "no such file"},
	} {
		code, out, problems := call(t, dir, append([]string{"diff"}, tt.args...)...)
		if code != tt.code || !strings.Contains(out+problems, tt.says) {
			t.Errorf("%v: exit code %d, want %d: %s%s", tt.args, code, tt.code, out, problems)
		}
	}
}
