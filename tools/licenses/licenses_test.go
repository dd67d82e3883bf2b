package licenses_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/tools/licenses"
)

var update = flag.Bool("update", false, "write licenses.json")

const table = "licenses.json"

// TestTableIsCurrent proves that licenses.json has the licences of every module that an engine or a policy links, as the
// files of the modules have them.
func TestTableIsCurrent(t *testing.T) {
	if os.Getenv("TEST_SRCDIR") != "" {
		t.Skip("Bazel gives tests no module cache; run by go test")
	}
	found := map[string]licenses.Module{}
	for _, arch := range []string{"amd64", "arm64"} {
		list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{with .Module}}{{if .Version}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}`,
			"policyengine.dev/runtime/engine", "policyengine.dev/policies/...", "policyengine.dev/envoy_test/policies/...", "policyengine.dev/examples/...")
		list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		out, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			fields := strings.SplitN(strings.TrimSpace(line), " ", 3)
			if _, ok := found[fields[0]]; ok || len(fields) != 3 {
				continue
			}
			ids, files, err := licenses.Find(fields[2])
			if err != nil {
				t.Errorf("%s %s: %v", fields[0], fields[1], err)
			}
			found[fields[0]] = licenses.Module{Path: fields[0], Version: fields[1], Licenses: ids, Files: files}
		}
	}
	var modules []licenses.Module
	for _, m := range found {
		modules = append(modules, m)
	}
	want, err := licenses.Encode(modules)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(table, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not current; renew it by go test ./tools/licenses -update, and look at the new licences (-want +got)\n%s", table, diff)
	}
	parsed, err := licenses.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed) < 20 {
		t.Errorf("only %d modules", len(parsed))
	}
}

const mit = `MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		file, text, want, err string
	}{
		"a licence":                          {file: "LICENSE.txt", text: mit, want: "MIT"},
		"another spelling":                   {file: "Licence", text: mit, want: "MIT"},
		"no licence file":                    {file: "README", text: mit, err: "has no file LICENSE"},
		"a text that is no licence":          {file: "LICENSE", text: "Ask us first.", err: "0% of it is the text of known licences"},
		"a licence with much else around it": {file: "LICENSE", text: mit + strings.Repeat("And you owe us a beer for each copy. ", 100), err: "at least 75% are wanted"},
		"a file without an end":              {file: "LICENSE", text: strings.Repeat("x", 1<<20+1), err: "more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, files, err := licenses.Find(dir)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %s", err, c.err)
				}
				return
			}
			if err != nil || strings.Join(got, " ") != c.want || len(files) != 1 || files[0].Name != c.file {
				t.Errorf("got %v in %v, %v", got, files, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for want, text := range map[string]string{
		"unknown field":        `[{"pth":"a"}]`,
		"element 0 needs path": `[{"path":"a","version":"v1.0.0"}]`,
		"text follows":         `[] []`,
		"EOF":                  ``,
	} {
		if _, err := licenses.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
