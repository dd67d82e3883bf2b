package generate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/tools/envoy"
	"policyengine.dev/tools/pectl/envoyconfig/generate"
	"policyengine.dev/tools/pectl/envoyconfig/internal/sample"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

var update = flag.Bool("update", false, "write the golden files")

func tcp(address string) config.Address { return config.Address{Network: "tcp", Address: address} }

// cases are engines and the configurations that they need: testdata/NAME.yaml.
var cases = []struct {
	name   string
	engine func(*config.Engine)
	chains []string
	o      generate.Options
}{
	{name: "headers", chains: []string{"headers"}},
	{name: "responses", chains: []string{"headers", "responses"}},
	{name: "large-bodies", chains: []string{"decoded"}, engine: func(e *config.Engine) { e.Limits.Body = 64 << 20 }},
	{name: "bodies", chains: []string{"bodies", "headers", "pieces"}},
	{name: "keep-content-length", chains: []string{"pieces", "readings"}, o: generate.Options{KeepContentLength: true}},
	{name: "full-duplex", chains: []string{"headers", "holding"}},
	{name: "rerouting", chains: []string{"rerouting"}},
	{name: "everything"},
	{name: "fixed-modes", o: generate.Options{FixedModes: true}},
	{
		name:   "prefer-mode-override",
		engine: func(e *config.Engine) { e.Filter.PreferModeOverride = true },
		o:      generate.Options{PreferModeOverride: true},
	},
	{name: "no-chain", chains: []string{"none"}},
	{
		name: "unix-socket", chains: []string{"headers"},
		engine: func(e *config.Engine) {
			e.Listeners = []config.Listener{{Address: tcp("0.0.0.0:9001")}, {Address: config.Address{Network: "unix", Address: "/run/engine.sock"}}}
			e.Limits.ConcurrentStreams = 100
		},
		o: generate.Options{Listener: "unix:/run/engine.sock", MessageTimeout: 1500 * time.Millisecond, MaxRequests: 5000},
	},
	{
		name: "several-engines", chains: []string{"headers"},
		engine: func(e *config.Engine) { e.Listeners[0].Address = tcp("0.0.0.0:9001") },
		o: generate.Options{
			Addresses:  []string{"engines.example.org:9001", "10.0.0.7:9001"},
			FilterName: "policies", ClusterName: "engines", Routing: true,
			MaxHeaders: 200, MaxHeadersKB: 96, RequestAttributes: []string{"request.id", "source.address"}, ResponseAttributes: []string{"response.flags"},
		},
	},
	{
		name: "route-metadata", chains: []string{"headers", "holding"},
		engine: func(e *config.Engine) {
			e.Route = config.RouteSource{Attribute: config.MetadataAttribute("com.example", "api")}
		},
	},
	{
		name: "stream-metadata", chains: []string{"headers"},
		engine: func(e *config.Engine) { e.Route = config.RouteSource{StreamMetadata: "x-route-name"} },
	},
	{
		name: "tls", chains: []string{"headers"},
		engine: func(e *config.Engine) {
			e.Listeners = []config.Listener{{Address: tcp("engine.example.org:9001"), TLS: &config.TLS{ClientCA: "/ca.pem"}}}
		},
		o: generate.Options{TLS: generate.TLS{CA: "ca.pem", SAN: "engine.example.org", Certificate: "envoy.pem", Key: "envoy.key"}},
	},
	{
		name: "spiffe", chains: []string{"headers"},
		engine: func(e *config.Engine) { e.Listeners[0].TLS = &config.TLS{} },
		o:      generate.Options{TLS: generate.TLS{CA: "ca.pem", SAN: "spiffe://example.org/engine"}},
	},
}

func document(t *testing.T, i int) (*needs.Needs, *generate.Document) {
	t.Helper()
	engine := config.DefaultEngine()
	if cases[i].engine != nil {
		cases[i].engine(&engine)
	}
	n := sample.Needs(t, engine, cases[i].chains...)
	d, err := generate.New(n, cases[i].o)
	if err != nil {
		t.Fatal(err)
	}
	return n, d
}

// TestGolden holds what is written, comments included. Run it with -update to renew
// the files.
func TestGolden(t *testing.T) {
	for i, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			_, d := document(t, i)
			var got bytes.Buffer
			if err := d.WriteYAML(&got); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", tt.name+".yaml")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var asJSON bytes.Buffer
			if err := d.WriteJSON(&asJSON); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sample.Parse(t, got.Bytes()), sample.Parse(t, asJSON.Bytes())); diff != "" {
				t.Errorf("JSON says something else (-yaml +json):\n%s", diff)
			}
		})
	}
}

// TestAccepted proves that every configuration has Envoy's shape, by its own
// descriptors, and that the pinned Envoy takes it, certificates included.
func TestAccepted(t *testing.T) {
	dir := t.TempDir()
	sample.WriteCertificate(t, dir)
	for i, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			n, d := document(t, i)
			var b bytes.Buffer
			if err := d.WriteYAML(&b); err != nil {
				t.Fatal(err)
			}
			src, err := json.Marshal(sample.Bootstrap(n, sample.Parse(t, b.Bytes())))
			if err != nil {
				t.Fatal(err)
			}
			var m bootstrap.Bootstrap
			if err := protojson.Unmarshal(src, &m); err != nil {
				t.Fatal(err)
			}
			if err := m.ValidateAll(); err != nil {
				t.Error(err)
			}
			binary := envoy.Binary(t)
			file := filepath.Join(dir, tt.name+".json")
			if err := os.WriteFile(file, src, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			command := exec.CommandContext(ctx, binary, "--mode", "validate", "--config-path", file)
			command.Dir = dir
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("envoy --mode validate: %v\n%s", err, out)
			} else if strings.Contains(string(out), "Deprecated field") {
				t.Errorf("Envoy finds something deprecated:\n%s", out)
			}
		})
	}
}

// TestOrderDoesNotMatter proves that the same chains in another order give the same
// bytes.
func TestOrderDoesNotMatter(t *testing.T) {
	write := func(order func([]string)) string {
		names := []string{"headers", "responses", "bodies", "pieces", "decoded", "trailers", "holding", "rerouting"}
		order(names)
		d, err := generate.New(sample.Needs(t, config.DefaultEngine(), names...), generate.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := d.WriteYAML(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	want := write(func([]string) {})
	for _, order := range []func([]string){slices.Reverse[[]string], slices.Sort[[]string], func([]string) {}} {
		if got := write(order); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

// TestStampsSayWhatIsSetUp proves that each stamp, of the filter and of every route
// with settings of its own, is what the fields beside it say.
func TestStampsSayWhatIsSetUp(t *testing.T) {
	for i, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			_, d := document(t, i)
			var b bytes.Buffer
			if err := d.WriteJSON(&b); err != nil {
				t.Fatal(err)
			}
			parts := sample.Parse(t, b.Bytes())
			f := parts["http_filter"].(sample.Tree)["typed_config"].(sample.Tree)
			service := f["grpc_service"].(sample.Tree)
			checkStamp(t, f, f["processing_mode"].(sample.Tree), service["initial_metadata"].([]any), tt.o)
			routes, _ := parts["routes"].(sample.Tree)
			for name, route := range routes {
				perFilter, ok := route.(sample.Tree)["typed_per_filter_config"].(sample.Tree)
				if !ok {
					continue
				}
				for _, block := range perFilter {
					o := block.(sample.Tree)["overrides"].(sample.Tree)
					t.Run(name, func(t *testing.T) {
						checkStamp(t, f, o["processing_mode"].(sample.Tree), o["grpc_initial_metadata"].([]any), tt.o)
					})
				}
			}
		})
	}
}

func checkStamp(t *testing.T, f, mode sample.Tree, metadata []any, o generate.Options) {
	t.Helper()
	stamp := metadata[0].(sample.Tree)
	if stamp["key"] != negotiate.StampKey {
		t.Fatalf("no stamp: %v", metadata)
	}
	got, err := negotiate.ParseStamp(stamp["value"].(string))
	if err != nil {
		t.Fatal(err)
	}
	timeout, err := time.ParseDuration(f["message_timeout"].(string))
	if err != nil {
		t.Fatal(err)
	}
	want := negotiate.Settings{
		ModeOverride:        f["allow_mode_override"].(bool),
		MessageTimeout:      timeout,
		SkipResponseHeaders: mode["response_header_mode"] == "SKIP",
		RequestTrailers:     mode["request_trailer_mode"] == "SEND",
		ResponseTrailers:    mode["response_trailer_mode"] == "SEND",
		MaxHeaders:          o.MaxHeaders,
		MaxHeadersKB:        o.MaxHeadersKB,
		RouteName:           slices.Contains(f["request_attributes"].([]any), any(config.DefaultRouteAttribute)),
		Routing:             f["mutation_rules"].(sample.Tree)["allow_all_routing"].(bool),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the stamp says %+v, the fields %+v", got, want)
	}
}

// TestRefused proves that what Envoy could not find or trust is an error, and that
// all of it is said at once.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		engine func(*config.Engine)
		o      generate.Options
		want   []string
	}{
		{"an address that is no destination", func(e *config.Engine) { e.Listeners[0].Address = tcp("0.0.0.0:9001") }, generate.Options{},
			[]string{"listens on 0.0.0.0:9001", "--address"}},
		{"a port of the system's choice", func(e *config.Engine) { e.Listeners[0].Address = tcp("127.0.0.1:0") }, generate.Options{}, []string{"--address"}},
		{"no host", func(e *config.Engine) { e.Listeners[0].Address = tcp(":9001") }, generate.Options{}, []string{"--address"}},
		{"addresses that are none", nil, generate.Options{Addresses: []string{"here", "unix:", "host:0", ":9001"}},
			[]string{`"here"`, `"unix:"`, `"host:0"`, `":9001"`}},
		{"sockets and names", nil, generate.Options{Addresses: []string{"unix:/a", "host:1"}}, []string{"both Unix sockets and host names"}},
		{"a listener that is not there", nil, generate.Options{Listener: "127.0.0.1:1"}, []string{`no listener "127.0.0.1:1"`, "127.0.0.1:9001"}},
		{"TLS with nothing to trust it by", func(e *config.Engine) { e.Listeners[0].TLS = &config.TLS{ClientCA: "/ca"} }, generate.Options{},
			[]string{"--tls-ca", "--tls-san", "--tls-certificate"}},
		{"overrides that the engine does not prefer", nil, generate.Options{PreferModeOverride: true}, []string{"filter.preferModeOverride", "--prefer-mode-override"}},
		{"overrides preferred and left off", func(e *config.Engine) { e.Filter.PreferModeOverride = true },
			generate.Options{PreferModeOverride: true, FixedModes: true}, []string{"--fixed-modes"}},
		{"half a key pair", func(e *config.Engine) { e.Listeners[0].TLS = &config.TLS{} },
			generate.Options{TLS: generate.TLS{CA: "a", SAN: "b", Key: "c"}}, []string{"together"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			engine := config.DefaultEngine()
			if tt.engine != nil {
				tt.engine(&engine)
			}
			_, err := generate.New(sample.Needs(t, engine, "headers"), tt.o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
		})
	}
}
