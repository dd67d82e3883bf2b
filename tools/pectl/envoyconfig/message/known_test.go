package message_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// TestEveryMessageIsKnown proves that known.go names every package of the envoy module
// that has messages of v3. It asks the Go tool where the module is, and is skipped
// where there is none.
func TestEveryMessageIsKnown(t *testing.T) {
	const module = "github.com/envoyproxy/go-control-plane/envoy"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Skipf("the Go tool does not find the module: %v", err)
	}
	var want []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".pb.go") {
			return err
		}
		if name, _ := filepath.Rel(dir, filepath.Dir(path)); regexp.MustCompile(`/v3(alpha)?$`).MatchString(name) {
			want = append(want, module+"/"+filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	want = slices.Compact(want)
	src, err := os.ReadFile("known.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range want {
		if !strings.Contains(string(src), `_ "`+name+`"`) {
			t.Errorf("known.go lacks %s", name)
		}
	}
	if got := strings.Count(string(src), `_ "`+module); got != len(want) {
		t.Errorf("known.go has %d packages, want %d", got, len(want))
	}
}

// TestKnown proves that what Envoy v1.36 does not know is not known here either.
func TestKnown(t *testing.T) {
	for name, want := range map[string]bool{
		"envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor": true, "envoy.admin.v3.ListenersConfigDump": true, "envoy.config.bootstrap.v3.Bootstrap": true,
		"xds.type.matcher.v3.Matcher": true, "envoy.api.v2.Listener": false, "envoy.config.filter.network.http_connection_manager.v2.HttpConnectionManager": false, "a.b.C": false, "": false,
	} {
		if message.Known(name) != want {
			t.Errorf("%q: known %v", name, !want)
		}
	}
}
