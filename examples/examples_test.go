// Package examples_test keeps the examples true: each is loaded as the engine and
// Envoy load it, and run.
package examples_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/envoy"
	"policyengine.dev/tools/pectl/envoyconfig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The addresses of the examples, which tests cannot have.
const (
	exampleEngine   = "127.0.0.1:9001"
	exampleUpstream = "127.0.0.1:8080"
)

func TestEveryFileOfChainsStandsAlone(t *testing.T) {
	files, err := filepath.Glob("chains/*.yaml")
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			u := config.FileSource{Path: file}.Load()
			if u.Err != nil {
				t.Fatal(u.Err)
			}
			if len(u.Spec.Chains) != 1 || len(u.Spec.Routes) != 1 || u.Spec.Routes[0].Chain != u.Spec.Chains[0].Name {
				t.Errorf("not one chain with its route: %+v", u.Spec)
			}
		})
	}
}

func TestTheEngineFileHasEveryDefault(t *testing.T) {
	got, err := config.LoadEngine("engine.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := config.DefaultEngine()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	want.Chains = filepath.Join(dir, "chains")
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-default +example):\n%s", diff)
	}
}

// example is the example, running.
type example struct {
	upstream *harness.Upstream
	engine   *harness.Engine
	envoy    *harness.Envoy
}

func start(t *testing.T) *example {
	t.Helper()
	binary := envoy.Binary(t)
	dir := harnesstest.Dir(t)
	ctx := harnesstest.Context(t)
	upstream, err := harness.StartUpstream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(upstream.Close)
	engine, err := harness.StartEngine(ctx, harness.EngineOptions{
		Path: engines.Binary(t, engines.Payments), Dir: dir, Config: engineConfig(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Stop)
	proxy, err := harness.StartEnvoy(ctx, harness.EnvoyOptions{Path: binary, Dir: dir, Config: envoyConfig(t, upstream, engine)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		proxy.Stop()
		if t.Failed() {
			t.Log(engine.Log(), proxy.Log())
		}
	})
	return &example{upstream, engine, proxy}
}

// engineConfig is engine.yaml without its addresses and its drain.
func engineConfig(t *testing.T) map[string]any {
	t.Helper()
	all := decode(t, "engine.yaml")
	chains, err := filepath.Abs("chains")
	if err != nil {
		t.Fatal(err)
	}
	delete(all, "listeners")
	delete(all, "admin")
	delete(all, "drain") // nothing here is about how it ends
	all["source"] = map[string]any{"path": chains}
	return all
}

// envoyConfig is envoy.yaml with other addresses in it.
func envoyConfig(t *testing.T, upstream *harness.Upstream, engine *harness.Engine) []byte {
	t.Helper()
	all := decode(t, "envoy.yaml")
	addresses := map[string]any{
		exampleEngine:     map[string]any{"pipe": map[string]any{"path": strings.TrimPrefix(engine.Address(), "unix:")}},
		exampleUpstream:   socketAddress(t, upstream.Address()),
		"127.0.0.1:10000": socketAddress(t, "127.0.0.1:0"),
		"127.0.0.1:9901":  socketAddress(t, "127.0.0.1:0"),
	}
	replaced := map[string]bool{}
	walk(all, func(m map[string]any) {
		address, _ := m["address"].(map[string]any)
		s, _ := address["socket_address"].(map[string]any)
		if s == nil {
			return
		}
		name := fmt.Sprint(s["address"], ":", s["port_value"])
		if addresses[name] == nil {
			t.Errorf("envoy.yaml has the address %s, which nothing is known of", name)
			return
		}
		m["address"], replaced[name] = addresses[name], true
	})
	if len(replaced) != len(addresses) {
		t.Errorf("envoy.yaml has only the addresses %v", replaced)
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func socketAddress(t *testing.T, hostPort string) map[string]any {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", hostPort)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"socket_address": map[string]any{"address": a.IP.String(), "port_value": a.Port}}
}

func decode(t *testing.T, file string) map[string]any {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := yaml.Unmarshal(src, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// walk visits every mapping, inner ones first.
func walk(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			walk(inner, visit)
		}
		visit(v)
	case []any:
		for _, inner := range v {
			walk(inner, visit)
		}
	}
}

func TestTheExamplesRunBehindThePinnedEnvoy(t *testing.T) {
	x := start(t)
	cases := []struct {
		name, method, path string
		header, value      string
		status             int
		reached            map[string]string // nil: the upstream was not
		got                map[string]string
	}{
		{name: "simple", path: "/public", status: 200, reached: map[string]string{"x-tenant": "public"}, got: map[string]string{"strict-transport-security": "max-age=31536000", "x-powered-by": ""}},
		{name: "api-key, without a key", path: "/charge", status: 401},
		{name: "api-key", path: "/charge", header: "x-api-key", value: "correct-horse-battery-staple", status: 200, reached: map[string]string{"x-api-key-id": "billing", "x-api-key": ""}},
		{name: "multi-policy, without a token", path: "/orders", status: 401, got: map[string]string{"x-docs": "https://developers.example.com/errors"}},
		// The token of RFC 7515, appendix A.3; its issuer is joe.
		{name: "multi-policy, with a stranger's token", method: "POST", path: "/orders", header: "authorization", value: "Bearer eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", status: 401},
		{name: "a path without a route", path: "/", status: 404},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x.upstream.Forget()
			x.upstream.Answer(harness.Answer{Header: http.Header{"X-Powered-By": {"example"}}})
			response := x.send(t, c.method, c.path, c.header, c.value)
			if response.StatusCode != c.status {
				t.Errorf("status %d, want %d", response.StatusCode, c.status)
			}
			for name, want := range c.got {
				if got := response.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			received := x.upstream.Received()
			if (len(received) == 1) != (c.reached != nil) {
				t.Fatalf("the upstream received %d requests", len(received))
			}
			for name, want := range c.reached {
				if got := received[0].Header.Get(name); got != want {
					t.Errorf("the upstream saw %s: %q, want %q", name, got, want)
				}
			}
		})
	}
	counters, err := x.envoy.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"spurious_msgs_received", "rejected_header_mutations", "streams_failed", "failure_mode_allowed", "message_timeouts"} {
		if counters[name] != 0 {
			t.Errorf("Envoy counted %s: %d", name, counters[name])
		}
	}
}

func (x *example) send(t *testing.T, method, path, header, value string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(harnesstest.Context(t), method, "http://"+x.envoy.Listener("ingress")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		request.Header.Set(header, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func TestTheEnvoyConfigurationIsWhatPectlWrites(t *testing.T) {
	x := start(t)
	pectl := func(args ...string) (string, int) {
		var out, problems bytes.Buffer
		root := &cobra.Command{Use: "pectl"}
		root.AddCommand(envoyconfig.Command())
		args = append([]string{"envoy-config"}, append(args, "--config", "engine.yaml", "--admin", x.engine.AdminAddress())...)
		code := commandline.Main(context.Background(), root, args, commandline.IO{In: strings.NewReader(""), Out: &out, Err: &problems})
		return out.String() + problems.String(), code
	}
	text, code := pectl("--format", "json", "--address", exampleEngine)
	if code != commandline.ExitOK {
		t.Fatalf("pectl envoy-config: code %d\n%s", code, text)
	}
	var written map[string]any
	if err := json.Unmarshal([]byte(text), &written); err != nil {
		t.Fatal(err)
	}
	// Through JSON, so that both have its types.
	b, err := json.Marshal(decode(t, "envoy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var ours map[string]any
	if err := json.Unmarshal(b, &ours); err != nil {
		t.Fatal(err)
	}
	found := map[string]any{}
	walk(ours, func(m map[string]any) {
		switch {
		case m["name"] == "envoy.filters.http.ext_proc":
			found["http_filter"] = m
		case m["name"] == "policy-engine" && m["load_assignment"] != nil:
			found["cluster"] = m
		}
	})
	for _, part := range []string{"http_filter", "cluster"} {
		if diff := cmp.Diff(written[part], found[part]); diff != "" {
			t.Errorf("%s (-pectl +envoy.yaml):\n%s", part, diff)
		}
	}
	if out, code := pectl("check", "envoy.yaml", "--strict"); code != commandline.ExitOK {
		t.Errorf("pectl envoy-config check: code %d\n%s", code, out)
	}
}
