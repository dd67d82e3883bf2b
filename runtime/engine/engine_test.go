package engine_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/engine"
	"policyengine.dev/runtime/extproc"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

type greeter struct{ p greeterParams }

type greeterParams struct {
	Value string `json:"value"`
	Deny  bool   `json:"deny"`
	Hang  bool   `json:"hang"`
}

func newGreeter(p greeterParams, h policy.Host) (*greeter, error) {
	h.Metrics.Gauge("made", "Whether it is made.").Set(1)
	return &greeter{p}, nil
}

// hanging is received from by greeters that hang in their start.
var hanging = make(chan struct{})

// Start hangs where it is told to, and minds no context.
func (g *greeter) Start(context.Context) error {
	if g.p.Hang {
		<-hanging
	}
	return nil
}

func (g *greeter) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	if g.p.Deny {
		return policy.Reject(403, "DENIED", ""), nil
	}
	return &policy.RequestMutation{Headers: policy.HeaderMutation{Set: []policy.Header{{Name: "x-greeting", Value: g.p.Value}}}}, nil
}

func (g *greeter) OnResponseHeaders(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	return nil, nil
}

func entries() []worker.Entry {
	return []worker.Entry{{
		Definition: `{"apiVersion":"policyengine/v1","name":"greeter","version":"v1.0.0","description":"Greets.","phases":["request_headers","response_headers"],
"parameters":{"type":"object","additionalProperties":false,"properties":{"value":{"type":"string"},"deny":{"type":"boolean"},"hang":{"type":"boolean"}}}}`,
		Factory: policy.Define(newGreeter),
	}}
}

func chains(params string) string {
	return "chains:\n- name: c\n  policies:\n  - name: greeter\n    version: v1\n    params: " + params + "\nroutes:\n- name: r\n  chain: c\n"
}

// running is an engine in this process.
type running struct {
	*engine.Engine
	t      *testing.T
	dir    string
	stop   context.CancelFunc
	kill   context.CancelFunc
	result chan error
}

// start runs an engine on a Unix socket unless the static configuration says
// otherwise.
func start(t *testing.T, chains string, change func(*config.Engine)) *running {
	t.Helper()
	r := &running{t: t, dir: t.TempDir(), result: make(chan error, 1)}
	r.write(chains)
	static := config.DefaultEngine()
	static.Chains = filepath.Join(r.dir, "chains.yaml")
	static.Listeners = []config.Listener{{Address: config.Address{Network: "unix", Address: filepath.Join(r.dir, "s")}, Mode: 0o600}}
	static.Admin = config.Address{Network: "tcp", Address: "127.0.0.1:0"}
	static.Drain.Delay = 0
	if change != nil {
		change(&static)
	}
	registry, err := worker.NewRegistry(entries()...)
	if err != nil {
		t.Fatal(err)
	}
	r.Engine, err = engine.New(static, registry, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop, cancelStop := context.WithCancel(context.Background())
	kill, cancelKill := context.WithCancel(context.Background())
	r.stop, r.kill = cancelStop, cancelKill
	go func() { r.result <- r.Run(stop, kill) }()
	t.Cleanup(func() {
		cancelStop()
		cancelKill()
		if r.result != nil {
			r.ended()
		}
	})
	return r
}

func (r *running) write(chains string) {
	r.t.Helper()
	next := filepath.Join(r.dir, "next")
	if err := os.WriteFile(next, []byte(chains), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(r.dir, "chains.yaml")); err != nil {
		r.t.Fatal(err)
	}
}

// ended waits for the end of Run and returns its error.
func (r *running) ended() error {
	r.t.Helper()
	select {
	case err := <-r.result:
		r.result = nil
		return err
	case <-time.After(patience):
		r.t.Fatal("the engine has not ended")
		return nil
	}
}

func (r *running) waitReady() {
	r.t.Helper()
	select {
	case <-r.Ready():
	case <-time.After(patience):
		r.t.Fatal("the engine is not ready")
	}
}

// dial connects to the engine's first listener.
func (r *running) dial(creds credentials.TransportCredentials) *grpc.ClientConn {
	r.t.Helper()
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	a := r.Addr(0)
	target := "passthrough:///" + a.String()
	if a.Network() == "unix" {
		target = "unix:" + a.String()
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func requestHeaders(route string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{EndOfStream: true,
			Headers: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: ":method", RawValue: []byte("GET")}, {Key: ":path", RawValue: []byte("/")}}}}},
		Attributes: map[string]*structpb.Struct{wire.AttributesKey: {Fields: map[string]*structpb.Value{
			"xds.route_name": structpb.NewStringValue(route)}}},
		ProtocolConfig: &extprocv3.ProtocolConfiguration{},
	}
}

// ask sends the headers of a request and returns the reply.
func ask(t *testing.T, conn *grpc.ClientConn) (*extprocv3.ProcessingResponse, error) {
	t.Helper()
	s, err := extprocv3.NewExternalProcessorClient(conn).Process(bounded(t))
	if err != nil {
		return nil, err
	}
	// Where the stream has ended already, receiving tells why.
	_ = s.Send(requestHeaders("r"))
	return s.Recv()
}

// greeting is the header that the greeter sets.
func greeting(r *extprocv3.ProcessingResponse) string {
	for _, h := range r.GetRequestHeaders().GetResponse().GetHeaderMutation().GetSetHeaders() {
		return string(h.GetHeader().GetRawValue())
	}
	return ""
}

func (r *running) page(path string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(bounded(r.t), http.MethodGet, "http://"+r.AdminAddr().String()+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func health(t *testing.T, conn *grpc.ClientConn) healthpb.HealthCheckResponse_ServingStatus {
	t.Helper()
	r, err := healthpb.NewHealthClient(conn).Check(bounded(t), &healthpb.HealthCheckRequest{Service: extproc.ServiceName})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetStatus()
}

// until repeats what until it holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// TestServes proves the whole way: a policy acts, a new file takes effect without a
// restart, and a broken one changes nothing.
func TestServes(t *testing.T) {
	r := start(t, chains("{value: hello}"), nil)
	r.waitReady()
	conn := r.dial(nil)
	reply, err := ask(t, conn)
	if err != nil || greeting(reply) != "hello" {
		t.Fatalf("the reply is %v, %v", reply, err)
	}
	if s := health(t, conn); s != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health is %s", s)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if status, body := r.page(path); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	r.write(chains("{value: bonjour}"))
	until(t, "the new chain is in force", func() bool {
		reply, err := ask(t, conn)
		return err == nil && greeting(reply) == "bonjour"
	})
	r.write(chains("{vallue: hola}"))
	until(t, "the refusal is told", func() bool { _, body := r.page("/config_dump"); return strings.Contains(body, "vallue") })
	if reply, err := ask(t, conn); err != nil || greeting(reply) != "bonjour" {
		t.Errorf("after a broken file the reply is %v, %v", reply, err)
	}
}

// TestSockets proves what becomes of a path that is taken.
func TestSockets(t *testing.T) {
	r := start(t, chains("{}"), nil)
	path := r.Addr(0).String()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has the mode %v, %v", info.Mode(), err)
	}
	plain := filepath.Join(r.dir, "chains.yaml")
	registry, _ := worker.NewRegistry()
	static := config.DefaultEngine()
	static.Admin.Address = "127.0.0.1:0"
	static.Listeners = nil
	for _, p := range []string{path, plain} {
		static.Listeners = append(static.Listeners, config.Listener{Address: config.Address{Network: "unix", Address: p}})
	}
	_, err := engine.New(static, registry, slog.New(slog.DiscardHandler))
	for _, want := range []string{"another process listens on " + path, plain + " is there and no socket"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestPeers(t *testing.T) {
	me := uint32(os.Getuid())
	for name, tt := range map[string]struct {
		peers config.Peers
		ok    bool
	}{
		"the user is listed":        {config.Peers{UIDs: []uint32{me}}, true},
		"the group is listed":       {config.Peers{UIDs: []uint32{me + 1}, GIDs: []uint32{uint32(os.Getgid())}}, true},
		"neither is":                {config.Peers{UIDs: []uint32{me + 1}}, false},
		"nothing but another group": {config.Peers{GIDs: []uint32{uint32(os.Getgid()) + 1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, chains("{value: hello}"), func(c *config.Engine) { c.Listeners[0].Peers = tt.peers })
			r.waitReady()
			if reply, err := ask(t, r.dial(nil)); (err == nil) != tt.ok {
				t.Errorf("the reply is %v, %v", reply, err)
			}
		})
	}
}

func ExampleVersion() {
	fmt.Println(strings.HasPrefix(engine.Version(), "policy-engine "))
	// Output: true
}

// TestCounts proves that streams and answers are counted where an operator looks.
func TestCounts(t *testing.T) {
	r := start(t, chains("{deny: true}"), nil)
	r.waitReady()
	conn := r.dial(nil)
	if _, err := ask(t, conn); err != nil {
		t.Fatal(err)
	}
	until(t, "the stream to end", func() bool {
		_, page := r.page("/metrics")
		return strings.Contains(page, "policy_engine_streams_total 1\n") && strings.Contains(page, "policy_engine_streams_open 0\n") &&
			strings.Contains(page, `policy_engine_immediate_responses_total{details="policy_engine.greeter@v1.0.0.DENIED"} 1`) &&
			strings.Contains(page, `policy_engine_message_duration_seconds_count{part="request_headers"} 1`)
	})
}

// TestMetricsOfWhatIsGone proves that a reload takes the metrics of policies and routes
// along that it takes away, and that a refused one leaves nothing behind.
func TestMetricsOfWhatIsGone(t *testing.T) {
	r := start(t, chains("{deny: true}"), nil)
	r.waitReady()
	if _, err := ask(t, r.dial(nil)); err != nil {
		t.Fatal(err)
	}
	shows := func(all ...string) func() bool {
		return func() bool {
			_, page := r.page("/metrics")
			for _, s := range all {
				s, absent := strings.CutPrefix(s, "!")
				if strings.Contains(page, s) == absent {
					return false
				}
			}
			return true
		}
	}
	const (
		answered = `policy_engine_requests_total{chain="c",result="answered",route="r"} 1`
		details  = "policy_engine.greeter@v1.0.0.DENIED"
		own      = `policy_engine_policy_greeter_made{chain="%s",id="greeter",version="v1.0.0"} 1`
	)
	mine, theirs := fmt.Sprintf(own, "c"), fmt.Sprintf(own, "d")
	until(t, "the request to be counted", shows(answered, details, mine))
	// The policies of d can be made; its route is wrong.
	r.write(chains("{deny: true}") + "- {name: r2, chain: nowhere}\n" + "onUnknownRoute: deny\n")
	until(t, "it to be refused", shows("policy_engine_config_rejections_total 1"))
	r.write(strings.ReplaceAll(chains("{deny: false}"), "name: c\n", "name: d\n"))
	until(t, "it to be refused", shows("policy_engine_config_rejections_total 2", answered, details, mine, "!"+theirs))
	r.write("chains:\n- name: c\n  policies: []\nroutes:\n- name: r\n  chain: c\n")
	until(t, "what is gone to be forgotten", shows(answered, "!"+details, "!"+mine))
	r.write(strings.ReplaceAll(chains("{deny: true}"), ": r\n", ": r3\n"))
	until(t, "it to be back", shows(`policy_engine_config_updates_total 3`, "!"+answered, "!"+details, mine))
}
