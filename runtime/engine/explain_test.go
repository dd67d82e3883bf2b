package engine

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/runtime/explain"
)

const explainedChains = `
chains:
- {name: c, policies: [{name: nothing, version: v1, mode: shadow}]}
- {name: d, policies: []}
routes:
- {name: "shop/**", chain: c}
- {name: shop/cart, chain: d}
`

// TestExplain proves what the command explains, from engine.yaml's files and from others.
func TestExplain(t *testing.T) {
	engine := files(t, "limits: {body: 1KiB}\nfilter: {messageTimeout: 2s}\n", explainedChains)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"c.yaml": "chains: [{name: e, policies: []}]\n", "r.yaml": "routes: [{name: shop/cart, chain: e}]\n",
		"bad.yaml": "chains: []\nroutes: [{name: r, chain: none}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, r, bad := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "r.yaml"), filepath.Join(dir, "bad.yaml")
	for _, tt := range []struct {
		name     string
		args     []string
		code     int
		out, err string
	}{
		{"a pattern, by engine.yaml", []string{"shop/x", "--config", engine}, exitOK, "route shop/x: chain c\n  entry shop/**: it is the only pattern that fits", ""},
		{"limits of engine.yaml", []string{"shop/x", "--config", engine}, exitOK, "a whole body: 1024 bytes (limits.body of engine.yaml)\n  the steps at each message: 1.8s", ""},
		{"an exact name", []string{"shop/cart", "--config", engine}, exitOK, "route shop/cart: chain d", ""},
		{"no entry", []string{"other", "--config", engine}, exitOK, "route other: no chain", ""},
		{"files, with the settings that are the default", []string{"shop/cart", c, r}, exitOK, "route shop/cart: chain e", ""},
		{"files, with the limits of engine.yaml", []string{"shop/cart", c, r, "--config", engine}, exitOK, "1024 bytes", ""},
		{"files with a problem", []string{"r", bad}, exitFailed, "", `bad.yaml:2:27: routes[0].chain: no chain is called "none"`},
		{"a file that is not there", []string{"r", filepath.Join(dir, "none.yaml")}, exitFailed, "", "none.yaml: no such file"},
		{"no route", nil, exitUsage, "", "ROUTE is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, err := call(t, append([]string{"explain"}, tt.args...)...)
			if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(err, tt.err) {
				t.Errorf("exit code %d, want %d; want %q and %q in\n%s%s", code, tt.code, tt.out, tt.err, out, err)
			}
		})
	}
}

// TestExplainOnTheAdminPage proves that a running engine explains a route as the command
// does, in both formats.
func TestExplainOnTheAdminPage(t *testing.T) {
	config := files(t, "", explainedChains)
	signals := make(chan os.Signal, 2)
	stderr := &lines{ch: make(chan string, 100)}
	code := make(chan int)
	go func() {
		code <- run([]string{"run", "--config", config}, testManifest, entries(), signals, stderr, stderr)
	}()
	stderr.waitFor(t, `"ready"`)
	defer func() {
		signals <- syscall.SIGTERM
		signals <- syscall.SIGTERM
		<-code
	}()
	get := func(query string) (int, string) {
		t.Helper()
		conn := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(filepath.Dir(config), "a"))
		}}
		defer conn.CloseIdleConnections()
		response, err := (&http.Client{Transport: conn}).Get("http://admin/config_dump?" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(b)
	}
	_, wantText, _ := call(t, "explain", "shop/x", "--config", config)
	_, wantJSON, _ := call(t, "explain", "shop/x", "--config", config, "--json")
	if status, text := get("route=shop/x&format=text"); status != http.StatusOK || text != wantText {
		t.Errorf("%d (-command +page):\n%s", status, cmp.Diff(wantText, text))
	}
	status, text := get("route=shop%2Fx")
	var want, got explain.Explanation
	for _, d := range []struct {
		from string
		to   *explain.Explanation
	}{{wantJSON, &want}, {text, &got}} {
		if err := json.Unmarshal([]byte(d.from), d.to); err != nil {
			t.Fatalf("%v: %s", err, d.from)
		}
		for i := range d.to.Chain.Steps {
			d.to.Chain.Steps[i].Started = true // the command starts nothing
		}
	}
	if diff := cmp.Diff(want, got); status != http.StatusOK || diff != "" {
		t.Errorf("%d (-command +page):\n%s", status, diff)
	}
	if status, _ := get("route=shop/x&format=xml"); status != http.StatusBadRequest {
		t.Errorf("an unknown format gets %d", status)
	}
}
