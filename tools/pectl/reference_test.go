package main

import (
	"flag"
	"testing"

	"policyengine.dev/tools/commanddoc"
)

var update = flag.Bool("update", false, "write docs/reference/pectl.md")

// TestReferenceIsCurrent proves that docs/reference/pectl.md describes the commands.
func TestReferenceIsCurrent(t *testing.T) {
	commanddoc.Compare(t, root(), "../../docs/reference/pectl.md", "go test ./tools/pectl -run TestReferenceIsCurrent -update", *update)
}
