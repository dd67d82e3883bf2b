package docs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/config"
	"policyengine.dev/sdk/policytest"
	"policyengine.dev/tools/pectl/policycmd"
	requireheader "policyengine.dev/tools/pectl/policycmd/golden/require-header/v1.0.0"
)

// block is a fenced block with the comment before it, which names its source.
var block = regexp.MustCompile("(?m)(?:^<!-- (.*) -->\n)?^```(\\w*)\n((?s:.*?))^```$")

// golden is the directory that author.md shows as policies/.
const golden = "tools/pectl/policycmd/golden"

// TestEveryBlockOfTheAuthorsPages proves that what authors copy builds and passes: each
// block is an excerpt of a file that is built and tested, or is run here. The pages use
// one module, in this order.
func TestEveryBlockOfTheAuthorsPages(t *testing.T) {
	for _, page := range []string{"author.md", "reference/policies.md"} {
		checkBlocks(t, readPage(t, page))
	}
}

func checkBlocks(t *testing.T, page string) {
	t.Helper()
	blocks := block.FindAllStringSubmatch(page, -1)
	if fences := strings.Count(page, "\n```"); len(blocks) == 0 || fences != 2*len(blocks) {
		t.Fatalf("%d blocks and %d fences", len(blocks), fences)
	}
	for _, b := range blocks {
		source, language, text := b[1], b[2], b[3]
		switch {
		case source == "":
			t.Errorf("a block has no comment with its source:\n%s", text)
		case source == "commands":
			checkCommands(t, text)
		case source == "chains":
			checkChains(t, text)
		default:
			checkExcerpt(t, source, language, text)
		}
	}
}

func checkExcerpt(t *testing.T, source, language, text string) {
	t.Helper()
	file := strings.Replace(source, "golden/", golden+"/", 1)
	whole, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(file)))
	if err != nil {
		t.Error(err)
		return
	}
	if want := map[string]string{".go": "go", ".yaml": "yaml", ".bazel": "starlark"}[filepath.Ext(file)]; language != want {
		t.Errorf("a block from %s is shown as %q", file, language)
	}
	if !strings.Contains(strings.ReplaceAll(string(whole), golden, "policies"), text) {
		t.Errorf("a block differs from %s:\n%s", file, text)
	}
}

// elsewhere are commands that other tests or CI run.
var elsewhere = []string{
	"go test ./policies/require-header/v1.0.0",
	"go test -race ./policies -run TestConformance/require-header",
	"./bazelw run //:gazelle",
	"./bazelw test //policies/...",
	"./bazelw build //bundles:payments_image",
	"./bazelw run //:demo -- --bundle //bundles:payments --chains chains.yaml",
}

// checkCommands runs the commands of pectl, all in one module.
func checkCommands(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		args, ok := strings.CutPrefix(line, "go run ./tools/pectl policy ")
		if ok {
			var stderr bytes.Buffer
			inModule(t, func() {
				if commandline.Main(t.Context(), policycmd.Command(), strings.Fields(args), commandline.IO{Out: &bytes.Buffer{}, Err: &stderr}) != commandline.ExitOK {
					t.Errorf("%s: %s", line, stderr.String())
				}
			})
			continue
		}
		known := false
		for _, e := range elsewhere {
			known = known || e == line
		}
		if !known {
			t.Errorf("no test runs the command %q", line)
		}
	}
}

var moduleDir string

// inModule calls f in a module that stays the same for all calls.
func inModule(t *testing.T, f func()) {
	t.Helper()
	if moduleDir == "" {
		moduleDir = t.TempDir()
		if err := os.WriteFile(filepath.Join(moduleDir, "go.mod"), []byte("module policyengine.dev\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chdir(moduleDir); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.Chdir(here); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// checkChains reads a configuration like the engine, and creates its policies.
func checkChains(t *testing.T, text string) {
	t.Helper()
	spec, _, err := config.ParseChains([]config.File{{Name: "author.md", Src: []byte(text)}})
	if err != nil {
		t.Errorf("%v:\n%s", err, text)
		return
	}
	for _, chain := range spec.Chains {
		for _, p := range chain.Policies {
			if p.Name != "require-header" || p.Version != "v1.0.0" {
				t.Errorf("the chain uses %s %s", p.Name, p.Version)
			}
			policytest.New(t, requireheader.Policy, string(p.Params), policytest.WithDefinition(filepath.Join("..", golden, "require-header/v1.0.0/policy.yaml")))
		}
	}
	if len(spec.Chains) == 0 || len(spec.Routes) == 0 {
		t.Error("the configuration is empty")
	}
}
