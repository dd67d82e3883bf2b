package docs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/configdiff"
	"policyengine.dev/tools/pectl/configcmd"
)

// TestEveryBlockOfTheChangePage proves that the page's commands print what the page shows
// of them, for the files that it shows, and that its commands for CI exist.
func TestEveryBlockOfTheChangePage(t *testing.T) {
	page := readPage(t, "changing-chains.md")
	dir, engine := t.TempDir(), engines.Binary(t, engines.Payments)
	t.Chdir(dir)
	run := func(line string, more ...string) (code int, out string) {
		t.Helper()
		words, ok := strings.CutPrefix(line, "pectl config ")
		if !ok {
			t.Fatalf("no command of pectl config: %s", line)
		}
		var b bytes.Buffer
		args := append(strings.Fields(strings.ReplaceAll(words, "./policy-engine", engine)), more...)
		code = commandline.Main(t.Context(), configcmd.Command(), args, commandline.IO{Out: &b, Err: &b})
		return code, b.String()
	}
	out, commands := "", 0
	for _, b := range block.FindAllStringSubmatch(page, -1) {
		language, text := b[2], b[3]
		name, isFile := strings.CutPrefix(strings.SplitN(text, "\n", 2)[0], "# ")
		switch {
		case language == "yaml" && strings.HasPrefix(name, ".github/"):
			var workflow struct {
				Jobs map[string]struct{ Steps []struct{ Run string } }
			}
			if err := yaml.Unmarshal([]byte(text), &workflow); err != nil {
				t.Fatal(err)
			}
			for _, step := range workflow.Jobs["chains"].Steps {
				if step.Run == "" {
					continue
				}
				commands++
				if code, out := run(step.Run, "--help"); code != 0 {
					t.Errorf("%s: exit code %d: %s", step.Run, code, out)
				}
				if code, out := run(step.Run); code == commandline.ExitUsage {
					t.Errorf("%s: %s", step.Run, out)
				}
			}
		case language == "yaml" && isFile:
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		case language == "":
			var code int
			if code, out = run(strings.TrimSuffix(text, "\n")); code != 0 {
				t.Errorf("exit code %d: %s%s", code, text, out)
			}
			commands++
		case language == "text":
			if diff := cmp.Diff(text, out); diff != "" {
				t.Errorf("the page shows another output (-page +output):\n%s", diff)
			}
		default:
			t.Errorf("a block that is not tested:\n%s", text)
		}
	}
	if commands != 4 {
		t.Errorf("%d commands, want 4", commands)
	}
}

// TestTheChangePageHasTheClosedList proves that the table has exactly the reasons that a
// report gives.
func TestTheChangePageHasTheClosedList(t *testing.T) {
	_, table, ok := strings.Cut(readPage(t, "changing-chains.md"), "<!-- the closed list -->\n")
	if !ok {
		t.Fatal("there is no list")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	told := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| .* \| ([^|]*) \|$`).FindAllStringSubmatch(table, -1)[1:] {
		told[m[1]] = true
	}
	for _, w := range configdiff.Widenings() {
		if !told[string(w)] {
			t.Errorf("the page does not have %q", w)
		}
		delete(told, string(w))
	}
	if len(told) != 0 {
		t.Errorf("the page has %v, which no report gives", told)
	}
}
