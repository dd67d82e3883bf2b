package config_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/runtime/config"
)

func TestAMinimalEngineFileHasTheDocumentedDefaults(t *testing.T) {
	got, err := config.ParseEngine("engine.yaml", "/etc/pe", []byte("source: {path: chains.yaml}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Engine{
		Listeners:   []config.Listener{{Address: config.Address{Network: "tcp", Address: "127.0.0.1:9001"}}},
		Admin:       config.Address{Network: "tcp", Address: "127.0.0.1:9002"},
		Chains:      "/etc/pe/chains.yaml",
		Route:       config.RouteSource{Attribute: "xds.route_name"},
		Limits:      config.Limits{Body: 10 << 20, ConcurrentStreams: 1024},
		Connections: config.Connections{MaxAge: 30 * time.Minute, MaxAgeGrace: 5 * time.Minute},
		Drain:       config.Drain{Delay: 5 * time.Second, Deadline: 20 * time.Second},
		Filter:      config.Filter{MessageTimeout: 200 * time.Millisecond, MaxHeaders: 100, MaxHeadersKB: 60},
		Telemetry:   config.Telemetry{Logs: config.Logs{JSON: true, Refusals: config.RefusalLogs{Enabled: true, PerReason: 2, PerSecond: 20}}, Tracing: config.Tracing{SampleRatio: 1}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEveryFieldOfAnEngineFileIsRead(t *testing.T) {
	const src = `
listeners:
- address: unix:/run/pe/engine.sock
  mode: "0600"
  peers: {uids: [101], gids: [102, 103]}
- address: 0.0.0.0:9001
  tls:
    certificate: tls/cert.pem
    key: tls/key.pem
    clientCA: /etc/ca.pem
    allowedSANs: [spiffe://example.org/envoy, envoy.example.org]
- {address: "[::]:9003", insecure: true}
admin: {address: "unix:/run/pe/admin.sock", pprof: true}
source: {path: /etc/pe/chains, onInvalidStart: wait}
route: {routeMetadata: {namespace: example, key: chain}}
limits: {body: 64KiB, memory: 1GiB, concurrentStreams: 1000}
connections: {maxAge: 0s, maxAgeGrace: 1m}
drain: {delay: 5s, deadline: 1m}
filter:
  messageTimeout: 1s
  allowModeOverride: true
  preferModeOverride: true
  allowedOverrideModes: [{requestHeaders: send, requestBody: buffered, requestTrailers: skip}]
  processingMode: {responseHeaders: skip, responseBody: full_duplex_streamed, responseTrailers: send}
  maxHeaders: 200
  maxHeadersKB: 96
  routeName: true
  mutationRules:
    allowAllRouting: true
    allowEnvoy: true
    disallowSystem: true
    disallowAll: true
    disallowIsError: true
    allowExpression: ^x-
    disallowExpression: secret
telemetry:
  logs: {level: debug, format: text, refusals: {enabled: false, perReason: 3, perSecond: 4}}
  tracing: {endpoint: "127.0.0.1:4317", insecure: true, sampleRatio: 0.25}
`
	got, err := config.ParseEngine("engine.yaml", "/etc/pe", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Engine{
		Listeners: []config.Listener{
			{
				Address: config.Address{Network: "unix", Address: "/run/pe/engine.sock"}, Mode: 0o600,
				Peers: config.Peers{UIDs: []uint32{101}, GIDs: []uint32{102, 103}},
			},
			{
				Address: config.Address{Network: "tcp", Address: "0.0.0.0:9001"},
				TLS: &config.TLS{
					Certificate: "/etc/pe/tls/cert.pem", Key: "/etc/pe/tls/key.pem", ClientCA: "/etc/ca.pem",
					AllowedSANs: []string{"spiffe://example.org/envoy", "envoy.example.org"},
				},
			},
			{Address: config.Address{Network: "tcp", Address: "[::]:9003"}},
		},
		Admin:  config.Address{Network: "unix", Address: "/run/pe/admin.sock"},
		Pprof:  true,
		Chains: "/etc/pe/chains", OnInvalidStart: config.WaitOnInvalidStart,
		Route:       config.RouteSource{Attribute: `xds.route_metadata.filter_metadata["example"]["chain"]`},
		Limits:      config.Limits{Body: 64 << 10, Memory: 1 << 30, ConcurrentStreams: 1000},
		Connections: config.Connections{MaxAgeGrace: time.Minute},
		Drain:       config.Drain{Delay: 5 * time.Second, Deadline: time.Minute},
		Filter: config.Filter{
			MessageTimeout: time.Second, AllowModeOverride: true, PreferModeOverride: true,
			AllowedOverrideModes: []config.ProcessingMode{{
				RequestHeaders: config.HeaderModeSend, RequestBody: config.BodyModeBuffered, RequestTrailers: config.HeaderModeSkip,
			}},
			ProcessingMode: config.ProcessingMode{
				ResponseHeaders: config.HeaderModeSkip, ResponseBody: config.BodyModeFullDuplexStreamed, ResponseTrailers: config.HeaderModeSend,
			},
			MutationRules: config.MutationRules{
				AllowAllRouting: true, AllowEnvoy: true, DisallowSystem: true, DisallowAll: true, DisallowIsError: true,
				AllowExpression: "^x-", DisallowExpression: "secret",
			},
			MaxHeaders: 200, MaxHeadersKB: 96, RouteName: true,
		},
		Telemetry: config.Telemetry{
			Logs:    config.Logs{Level: slog.LevelDebug, Refusals: config.RefusalLogs{PerReason: 3, PerSecond: 4}},
			Tracing: config.Tracing{Endpoint: "127.0.0.1:4317", Insecure: true, SampleRatio: 0.25},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProblemsOfAnEngineFile(t *testing.T) {
	cases := []struct {
		name, src string
		want      []string // one line of the error each, in order, to its end or up to "..."
	}{
		{"no source", "admin: {address: 127.0.0.1:1}", []string{"e.yaml:1:1: source: missing; this field is required"}},
		{"an unknown field, with the one that was meant", "source: {path: c}\nlistener: []", []string{`e.yaml:2:1: listener: unknown field; did you mean "listeners"?`}},
		{"everything at once", "source: {path: ''}\nlimits: {body: many}\ndrain: {deadline: -1s}\ntelemetry: {logs: {level: loud}}", []string{
			"e.yaml:1:16: source.path: is empty; give it a value",
			"e.yaml:2:16: limits.body: not a size; ...",
			"e.yaml:3:19: drain.deadline: a length of time that is too short; ...",
			"e.yaml:4:27: telemetry.logs.level: not a log level; write debug, info, warn or error",
		}},
		{"a start that is neither", "source: {path: c, onInvalidStart: retry}", []string{"e.yaml:1:35: source.onInvalidStart: not what to do about an invalid start; write exit or wait"}},
		{"an empty list of listeners", "source: {path: c}\nlisteners: []", []string{"e.yaml:2:12: listeners: no listener; ..."}},
		{"an address without a port", "source: {path: c}\nlisteners: [{address: localhost}]", []string{"e.yaml:2:23: listeners[0].address: not an address; ..."}},
		{"a port out of range", "source: {path: c}\nlisteners: [{address: 'localhost:65536'}]", []string{"e.yaml:2:23: listeners[0].address: not a port; ..."}},
		{"a port by name", "source: {path: c}\nlisteners: [{address: 'localhost:http'}]", []string{"e.yaml:2:23: listeners[0].address: not a port; ..."}},
		{"a relative socket", "source: {path: c}\nlisteners: [{address: 'unix:engine.sock'}]", []string{"e.yaml:2:23: listeners[0].address: the path of a Unix socket has to be absolute; ..."}},
		{"a socket's path that the operating system would cut", "source: {path: c}\nlisteners: [{address: 'unix:/" + strings.Repeat("a", 107) + "'}]", []string{"e.yaml:2:23: listeners[0].address: the path of a Unix socket has 108 bytes; ..."}},
		{"an abstract socket, which has no permissions", "source: {path: c}\nlisteners: [{address: 'unix:@engine'}]", []string{"e.yaml:2:23: listeners[0].address: the path of a Unix socket has to be absolute; ..."}},
		{"the same address twice", "source: {path: c}\nlisteners: [{address: '127.0.0.1:1'}, {address: '127.0.0.1:1'}]", []string{"e.yaml:2:49: listeners[1].address: listened on twice; ..."}},
		{"plaintext for other machines", "source: {path: c}\nlisteners: [{address: ':9001'}]", []string{"e.yaml:2:13: listeners[0]: a plaintext listener that other machines can reach; ..."}},
		{"a mode on TCP", "source: {path: c}\nlisteners: [{address: 'localhost:1', mode: '0660', peers: {uids: [1]}}]", []string{
			"e.yaml:2:38: listeners[0].mode: only a Unix socket has this; ...",
			"e.yaml:2:52: listeners[0].peers: only a Unix socket has this; ...",
		}},
		{"a mode beyond permissions", "source: {path: c}\nlisteners: [{address: 'unix:/s', mode: '4755'}]", []string{"e.yaml:2:40: listeners[0].mode: not a file mode; ..."}},
		{"an allow-list that nothing is compared with", "source: {path: c}\nlisteners: [{address: ':1', tls: {certificate: c, key: k, allowedSANs: [a]}}]", []string{"e.yaml:2:59: listeners[0].tls.allowedSANs: client certificates are not asked for; set clientCA too"}},
		{"an empty allow-list", "source: {path: c}\nlisteners: [{address: ':1', tls: {certificate: c, key: k, clientCA: a, allowedSANs: []}}]", []string{"e.yaml:2:85: listeners[0].tls.allowedSANs: an empty list would allow every client; ..."}},
		{"a wildcard in an allow-list", "source: {path: c}\nlisteners: [{address: ':1', tls: {certificate: c, key: k, clientCA: a, allowedSANs: ['*.example.org', 'spiffe://example.org/*']}}]", []string{
			"e.yaml:2:86: listeners[0].tls.allowedSANs[0]: neither a URI nor a DNS name; ...",
			"e.yaml:2:103: listeners[0].tls.allowedSANs[1]: neither a URI nor a DNS name; ...",
		}},
		{"empty certificate paths", "source: {path: c}\nlisteners: [{address: ':1', tls: {certificate: '', key: '', clientCA: ''}}]", []string{
			"e.yaml:2:48: listeners[0].tls.certificate: is empty; ...", "e.yaml:2:57: listeners[0].tls.key: is empty; ...", "e.yaml:2:71: listeners[0].tls.clientCA: is empty; ...",
		}},
		{"two sources of the route", "source: {path: c}\nroute: {attribute: a, streamMetadata: b}", []string{"e.yaml:2:8: route: the route's name comes from one place; ..."}},
		{"no source of the route", "source: {path: c}\nroute: {}", []string{"e.yaml:2:8: route: the route's name comes from one place; ..."}},
		{"stream metadata that gRPC cannot carry", "source: {path: c}\nroute: {streamMetadata: X-Route}", []string{"e.yaml:2:25: route.streamMetadata: not a key of gRPC metadata; ..."}},
		{"binary stream metadata", "source: {path: c}\nroute: {streamMetadata: route-bin}", []string{"e.yaml:2:25: route.streamMetadata: not a key of gRPC metadata; ..."}},
		{"route metadata that would end the expression", "source: {path: c}\nroute: {routeMetadata: {namespace: 'a\"]', key: ''}}", []string{
			"e.yaml:2:36: route.routeMetadata.namespace: not a metadata key; ...", "e.yaml:2:48: route.routeMetadata.key: not a metadata key; ...",
		}},
		{"a mutation rule that is no expression", "source: {path: c}\nfilter: {mutationRules: {allowExpression: '('}}", []string{"e.yaml:2:43: filter.mutationRules.allowExpression: not a regular expression (RE2); ..."}},
		{"a count of lines that is none", "source: {path: c}\ntelemetry: {logs: {refusals: {perReason: 0, perSecond: many}}}", []string{
			"e.yaml:2:42: telemetry.logs.refusals.perReason: not a count; ...", "e.yaml:2:56: telemetry.logs.refusals.perSecond: not a count; ..."}},
		{"a message timeout of 0, which fires at once", "source: {path: c}\nfilter: {messageTimeout: 0s}", []string{"e.yaml:2:26: filter.messageTimeout: a length of time that is too short; ..."}},
		{"a mode that Envoy does not have", "source: {path: c}\nfilter: {processingMode: {requestBody: full, requestHeaders: none}}", []string{
			"e.yaml:2:40: filter.processingMode.requestBody: not a body mode; write none, streamed, buffered, buffered_partial or full_duplex_streamed",
			"e.yaml:2:62: filter.processingMode.requestHeaders: not a mode for headers or trailers; write default, send or skip",
		}},
		{"a sample ratio above 1", "source: {path: c}\ntelemetry: {tracing: {sampleRatio: 2, endpoint: here}}", []string{
			"e.yaml:2:36: telemetry.tracing.sampleRatio: not a ratio; ...", "e.yaml:2:49: telemetry.tracing.endpoint: not host:port; ...",
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.ParseEngine("e.yaml", "/", []byte(c.src))
			wantLines(t, err, c.want)
		})
	}
}

// wantLines compares an error line by line; a wanted line may end in "..." for
// whatever follows.
func wantLines(t *testing.T, err error, want []string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	got := strings.Split(err.Error(), "\n")
	match := len(got) == len(want)
	for i := 0; match && i < len(want); i++ {
		start, open := strings.CutSuffix(want[i], "...")
		match = got[i] == want[i] || open && strings.HasPrefix(got[i], start)
	}
	if !match {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "10MiB": 10 << 20, "'512 KiB'": 512 << 10, "2GiB": 2 << 30, "7B": 7} {
		got, err := config.ParseEngine("e.yaml", "/", []byte("source: {path: c}\nlimits: {body: "+text+"}"))
		if err != nil || got.Limits.Body != want {
			t.Errorf("%s: got %d, %v; want %d", text, got.Limits.Body, err, want)
		}
	}
	for _, text := range []string{"0", "-1", "1.5", "1e3", "'10'x", "10MB", "MiB", "9999999999GiB", "9223372036854775808", "true", "[1]", ""} {
		if got, err := config.ParseEngine("e.yaml", "/", []byte("source: {path: c}\nlimits: {body: "+text+"}")); err == nil {
			t.Errorf("%q: got %d, want an error", text, got.Limits.Body)
		}
	}
}

func TestLocalAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "127.8.8.8:1": true, "[::1]:1": true, "localhost:1": true,
		"0.0.0.0:1": false, "[::]:1": false, ":1": false, "10.0.0.1:1": false, "localhost.example.org:1": false,
	} {
		if got := (config.Address{Network: "tcp", Address: address}).Local(); got != want {
			t.Errorf("%s: got %t", address, got)
		}
	}
	if !(config.Address{Network: "unix", Address: "/s"}).Local() {
		t.Error("a Unix socket is not local")
	}
}

func TestLoadEngineResolvesPathsAgainstTheFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "engine.yaml"), "source: {path: chains}\n")
	t.Chdir(filepath.Dir(dir))
	got, err := config.LoadEngine(filepath.Join(filepath.Base(dir), "engine.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// The temporary directory may itself be reached over a symbolic link.
	want, _ := filepath.EvalSymlinks(dir)
	if parent, _ := filepath.EvalSymlinks(filepath.Dir(got.Chains)); parent != want || filepath.Base(got.Chains) != "chains" {
		t.Errorf("got %s, want chains in %s", got.Chains, want)
	}
}

func TestLoadEngineRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none.yaml"), os.DevNull} {
		if _, err := config.LoadEngine(path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzParseEngine(f *testing.F) {
	f.Add([]byte("source: {path: c}"))
	f.Add([]byte("source: {path: c}\nlisteners: [{address: 'unix:/s', mode: '0660', tls: {certificate: a, key: b, allowedSANs: ['a://b']}}]"))
	f.Add([]byte("source: {path: c}\nlimits: {body: 1MiB}\nroute: {streamMetadata: a}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		e, err := config.ParseEngine("e.yaml", "/", src)
		if err != nil {
			if len(err.Error()) == 0 {
				t.Error("an error that says nothing")
			}
			return
		}
		if len(e.Listeners) == 0 || e.Chains == "" || e.Limits.Body <= 0 || e.Filter.MessageTimeout <= 0 || (e.Route.Attribute == "") == (e.Route.StreamMetadata == "") {
			t.Errorf("accepted without what it has to have: %+v", e)
		}
	})
}
