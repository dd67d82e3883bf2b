// Package reference_test compares docs/reference/bundle.md with the rules.
package reference_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/tools/ruledoc"
	"policyengine.dev/tools/runfiles"
)

var (
	extracted = flag.String("extracted", "", "runfiles path of what starlark_doc_extract wrote")
	page      = flag.String("page", "", "runfiles path of the page")
	update    = flag.Bool("update", false, "write the page instead of comparing it")
)

const (
	file   = "docs/reference/bundle.md"
	header = `# The rules of bundles

Written from the rules themselves; after a change of them run ` + "`./bazelw run //tools/bundle/reference:reference_test -- -update`" + `.
[The page for platform engineers](../platform-engineer.md) says how they are used.
`
)

// TestPage: the page says what the rules say.
func TestPage(t *testing.T) {
	if *extracted == "" {
		if os.Getenv("TEST_WORKSPACE") != "" {
			t.Fatal("nothing to compare")
		}
		t.Skip("run by ./bazelw test //tools/bundle/reference:reference_test")
	}
	want := header + render(t)
	if *update {
		if err := os.WriteFile(filepath.Join(os.Getenv("BUILD_WORKSPACE_DIRECTORY"), file), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(read(t, *page))); diff != "" {
		t.Errorf("%s is old; run ./bazelw run //tools/bundle/reference:reference_test -- -update\n(-rules +page)\n%s", file, diff)
	}
}

func render(t *testing.T) string {
	t.Helper()
	rendered, err := ruledoc.Render(read(t, *extracted))
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	path, err := runfiles.Path(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
