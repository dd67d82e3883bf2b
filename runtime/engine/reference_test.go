package engine

import (
	"flag"
	"testing"

	"policyengine.dev/tools/commanddoc"
)

var update = flag.Bool("update", false, "write docs/reference/policy-engine.md")

// TestReferenceIsCurrent proves that docs/reference/policy-engine.md describes the commands.
func TestReferenceIsCurrent(t *testing.T) {
	commanddoc.Compare(t, (&program{}).command(), "../../docs/reference/policy-engine.md", "go test ./runtime/engine -run TestReferenceIsCurrent -update", *update)
}
