package docs_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"policyengine.dev/tools/docs"
)

// generated are the directories that docs/author.md has the reader create.
var generated = []string{"policies/require-header/v1.0.0"}

// TestEveryReferenceOfThePages checks all pages of the repository. Bazel does not have the
// whole tree, so CI runs this test with go test.
func TestEveryReferenceOfThePages(t *testing.T) {
	if os.Getenv("TEST_SRCDIR") != "" {
		t.Skip("needs the whole tree: CI runs it with go test")
	}
	tree := os.DirFS("../..")
	pages, err := docs.Pages(tree)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(pages, "README.md") || !slices.Contains(pages, "docs/decisions/layers.md") {
		t.Fatalf("the tree has only these pages: %v", pages)
	}
	links, err := docs.CheckLinks(tree, pages)
	if err != nil {
		t.Fatal(err)
	}
	commands, err := docs.CheckCommands(tree, pages, generated)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(links, commands...) {
		t.Error(p)
	}
}

// TestTheIndexHasEveryPage proves that docs/README.md links to each page of docs/ and
// docs/reference/.
func TestTheIndexHasEveryPage(t *testing.T) {
	if os.Getenv("TEST_SRCDIR") != "" {
		t.Skip("needs the whole tree: CI runs it with go test")
	}
	tree := os.DirFS("../../docs")
	pages, err := docs.Pages(tree)
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile("../../docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if p != "README.md" && !strings.HasPrefix(p, "decisions/") && !strings.Contains(string(index), "]("+p+")") {
			t.Errorf("docs/README.md has no link to %s", p)
		}
	}
}

func tree(page string) fstest.MapFS {
	files := fstest.MapFS{}
	for name, content := range map[string]string{
		"docs/page.md":                    page,
		"docs/other.md":                   "# Other page\n\n## What's in `it`?\n\n## Twice\n\n## Twice\n\n```\n## Not a heading\n```\n",
		"docs/reference/pectl.md":         "# pectl\n\n## pectl\n\n* [pectl policy](#pectl-policy)\n\n## pectl policy\n\n* [pectl policy new](#x)\n\n## pectl policy new\n\n```\n      --from version   x\n```\n",
		"docs/reference/policy-engine.md": "# policy-engine\n\n## policy-engine\n\n* [policy-engine check](#x)\n\n## policy-engine check\n\n```\n  -q, --quiet   x\n```\n",
		"bundles/BUILD.bazel":             "policy_engine_bundle(\n    name = \"payments\",\n)\n",
		"sdk/expr/expr_test.go":           "package expr\n\nfunc TestReference(t *testing.T) {}\n",
		"tools/pectl/main.go":             "package main\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return files
}

func TestCheckLinks(t *testing.T) {
	for _, tt := range []struct {
		name, page string
		// want is a part of the only problem, or empty.
		want string
	}{
		{"a file", "[x](other.md)", ""},
		{"a directory", "[x](../bundles)", ""},
		{"another site", "[x](https://example.com/none.md#none)", ""},
		{"a heading with punctuation and code", "[x](other.md#whats-in-it)", ""},
		{"the second heading of a name", "[x](other.md#twice-1)", ""},
		{"a heading of the page itself", "# Here\n[x](#here)", ""},
		{"a link in a code block", "```\n[x](none.md)\n```", ""},
		{"a link in a code span", "`[x](none.md)`", ""},
		{"a missing file", "\n[x](none.md)", "docs/page.md:2: the link none.md leads to docs/none.md, which does not exist"},
		{"a missing heading", "[x](other.md#none)", "a heading that docs/other.md does not have"},
		{"a heading in a code block", "[x](other.md#not-a-heading)", "a heading that docs/other.md does not have"},
		{"a missing heading of the page itself", "[x](#none)", "a heading that docs/page.md does not have"},
		{"a file outside of the repository", "[x](../../x.md)", "stay in the repository"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			problems, err := docs.CheckLinks(tree(tt.page), []string{"docs/page.md"})
			if err != nil {
				t.Fatal(err)
			}
			expect(t, problems, tt.want)
		})
	}
}

func TestCheckCommands(t *testing.T) {
	for _, tt := range []struct{ command, want string }{
		{"pectl policy new NAME --from v1.0.0", ""},
		{"pectl policy --help", ""},
		{"pectl completion bash", ""},
		{"pectl policy new --to=v1.0.0", "pectl policy new has no flag --to"},
		{"pectl policy remove NAME", `pectl policy has no command "remove"`},
		{"policy-engine check -q", ""},
		{"policy-engine check --start", "policy-engine check has no flag --start"},
		{"go run ./tools/pectl policy newer", `pectl policy has no command "newer"`},
		{"go test ./sdk/expr -run TestReference -update", ""},
		{"go test ./sdk/... -run TestNothing", ""},
		{"go test ./policies/mine/v1.0.0", ""},
		{"go test ./sdk/expr -run TestNothing", "sdk/expr has no test TestNothing"},
		{"go test ./sdk/none", "there is no directory sdk/none"},
		{"./bazelw build //bundles:payments_image", ""},
		{"./bazelw test //bundles/...", ""},
		{"./bazelw run //bundles:mine -- --none", ""},
		{"./bazelw build //bundles:other", `the package has no target "other"`},
		{"./bazelw build //none:other", "there is no package //none:other"},
		{"./bazelw tset //bundles/...", `the command "tset"`},
		{"ls none", ""},
	} {
		t.Run(tt.command, func(t *testing.T) {
			for _, page := range []string{"```\n" + tt.command + "\n```\n", "Run `" + tt.command + "`.\n"} {
				problems, err := docs.CheckCommands(tree(page), []string{"docs/page.md"}, []string{"policies/mine/v1.0.0"})
				if err != nil {
					t.Fatal(err)
				}
				expect(t, problems, tt.want)
			}
		})
	}
}

func expect(t *testing.T, problems []docs.Problem, want string) {
	t.Helper()
	switch {
	case want == "" && len(problems) > 0:
		t.Errorf("got %v, want no problem", problems)
	case want != "" && (len(problems) != 1 || !strings.Contains(problems[0].String(), want)):
		t.Errorf("got %v, want one problem with %q", problems, want)
	}
}
