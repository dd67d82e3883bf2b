package check_test

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/tools/envoy"
	"policyengine.dev/tools/pectl/envoyconfig/check"
	"policyengine.dev/tools/pectl/envoyconfig/internal/sample"
)

// TestBypasses proves with the pinned Envoy that what is said to let requests past
// the chains does: without any engine, requests pass, and once it is mended they do
// not. What is said to end Envoy does.
func TestBypasses(t *testing.T) {
	binary := envoy.Binary(t)
	mended := map[string]bool{}
	for _, e := range examples {
		if !e.bypass && !e.crash {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			tree, n := e.tree(t, true)
			path := "/" + n.Routes[0].Name
			want := cmp.Or(e.status, http.StatusOK)
			if e.crash {
				want = 0
			}
			if status := ask(t, binary, tree, path, e.upgrade); status != want {
				t.Errorf("status %d with the mistake, want %d", status, want)
			}
			tree, _ = e.tree(t, false)
			key := string(encode(t, tree))
			if mended[key] {
				return
			}
			mended[key] = true
			if status := ask(t, binary, tree, path, e.upgrade); status != http.StatusInternalServerError {
				t.Errorf("status %d without the mistake", status)
			}
		})
	}
}

// ask runs Envoy, which finds no engine, and sends a request. Status 0 says that no
// answer came.
func ask(t *testing.T, binary string, tree sample.Tree, path string, upgrade bool) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	set(t, tree, "cluster.load_assignment.endpoints", `[{lb_endpoints: [{endpoint: {address: {pipe: {path: /nowhere/engine}}}}]}]`)
	e, err := harness.StartEnvoy(ctx, harness.EnvoyOptions{Path: binary, Config: encode(t, tree), Dir: t.TempDir(), LogLevel: "off"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	return statusOf(ctx, t, e, path, upgrade)
}

// statusOf is the status that Envoy answers, 0 where it gives no answer.
func statusOf(ctx context.Context, t *testing.T, e *harness.Envoy, path string, upgrade bool) int {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Listener("main")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if upgrade {
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", "websocket")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// TestMendedConfigurationsAreAccepted proves that the pinned Envoy takes each example
// once it is mended, so that no remedy is one that Envoy refuses.
func TestMendedConfigurationsAreAccepted(t *testing.T) {
	binary := envoy.Binary(t)
	seen := map[string]bool{}
	for _, e := range examples {
		tree, n := e.tree(t, false)
		src := encode(t, tree)
		if seen[string(src)] || n.Engine.Listeners[0].TLS != nil || e.base == nil {
			continue // generated: package generate has them accepted
		}
		seen[string(src)] = true
		t.Run(e.name, func(t *testing.T) {
			validate(t, binary, src)
		})
	}
}

func validate(t *testing.T, binary string, src []byte) {
	t.Helper()
	validateIn(t, t.TempDir(), binary, src)
}

// validateIn has Envoy validate a configuration that names files of a directory.
func validateIn(t *testing.T, dir, binary string, src []byte) {
	t.Helper()
	validateAs(t, dir, binary, "envoy.json", src)
}

// validateAs has Envoy validate a file of a name.
func validateAs(t *testing.T, dir, binary, name string, src []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, src, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, binary, "--mode", "validate", "--config-path", file)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("envoy --mode validate: %v\n%s", err, out)
	}
}

// TestFormatCommands proves that the commands of format strings are those of the
// pinned Envoy: it takes each, with parameters where those are needed. (It looks at
// gRPC metadata only when a request comes, so that a header stands for it here.)
func TestFormatCommands(t *testing.T) {
	binary := envoy.Binary(t)
	parameters := map[string]string{
		"CEL": "request.path", "COMMON_DURATION": "DS_RX_BEG:DS_TX_END:us", "FILTER_STATE": "a", "UPSTREAM_FILTER_STATE": "a",
		"METADATA": "ROUTE:a:b",
	}
	var headers []any
	for name, needed := range check.FormatCommands() {
		value := "%" + name + "%"
		if needed {
			p := parameters[name]
			if p == "" {
				p = "x"
			}
			value = "%" + name + "(" + p + ")%"
		}
		if err := check.Format(value); err != nil {
			t.Errorf("%s: %v", value, err)
		}
		headers = append(headers, sample.Tree{"header": sample.Tree{"key": "x-" + name, "value": value}})
	}
	tree, _ := (&example{}).tree(t, false)
	set(t, tree, "routes.response_headers_to_add", "[]")
	put(t, tree, stepsOf("routes.response_headers_to_add"), headers, false)
	validate(t, binary, encode(t, tree))
}

// FuzzFormat proves that no format string does harm to the one who checks it.
func FuzzFormat(f *testing.F) {
	f.Add("100%% %REQ(x-a?:path):10% %START_TIME(%s)%")
	f.Add("%REQ(%")
	f.Fuzz(func(t *testing.T, s string) {
		if err := check.Format(s); err == nil && strings.Count(s, "%")%2 == 1 && !strings.Contains(s, "(") {
			t.Errorf("%q passes with a percent sign left", s)
		}
	})
}

// TestFormats holds what is no format string.
func TestFormats(t *testing.T) {
	for format, good := range map[string]bool{
		"": true, "plain": true, "100%%": true, "%%%ROUTE_NAME%%%": true, "%REQ(x-a?:path):10%": true, "%START_TIME(%s)%": true,
		"100%": false, "%": false, "%%%": false, "%route_name%": false, "% ROUTE_NAME%": false, "%ROUTE_NAME": false,
		"%REQ%": false, "%REQ(x%": false, "%ROUTE_NAME:3%": false, "%PATH:3%": true, "%ROUTE_NAME(x)%": false, "%REQ(x):%": false, "%REQ(x):y%": false, "%NOTHING%": false, "%(x)%": false,
	} {
		if err := check.Format(format); (err == nil) != good {
			t.Errorf("%q: %v", format, err)
		}
	}
	if reflect.DeepEqual(check.FormatCommands(), map[string]bool{}) {
		t.Error("no commands")
	}
}
