package xds_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/xds"
	"policyengine.dev/runtime/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for.
const patience = 30 * time.Second

// plane is a control plane on a Unix socket, of which a test decides every response.
type plane struct {
	t       testing.TB
	address config.Address
	server  *grpc.Server
	// stream is called for each stream, with its method.
	stream func(method string, s grpc.ServerStream) error
}

func newPlane(t testing.TB, stream func(method string, s grpc.ServerStream) error) *plane {
	dir, err := os.MkdirTemp("", "xds")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &plane{t: t, address: config.Address{Network: "unix", Address: filepath.Join(dir, "s")}, stream: stream}
	p.start()
	t.Cleanup(func() { p.server.Stop() })
	return p
}

func (p *plane) start() {
	os.Remove(p.address.Address)
	l, err := net.Listen("unix", p.address.Address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.server = grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(s)
		return p.stream(method, s)
	}))
	go p.server.Serve(l) //nolint:errcheck // it ends with the test
}

// content is what a plane serves, and can change.
type contentOf struct {
	mu      sync.Mutex
	version string
	limit   uint64
	routes  int
	changed chan struct{}
	// requests are all that has come.
	requests []string
	nodes    []*corev3.Node
}

func serving(version string, limit uint64) *contentOf {
	return &contentOf{version: version, limit: limit, routes: 1, changed: make(chan struct{})}
}

func (c *contentOf) change(version string, limit uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version, c.limit = version, limit
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *contentOf) note(node *corev3.Node, typeURL, nonce, refusal string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = append(c.nodes, node)
	c.requests = append(c.requests, fmt.Sprintf("%s %s %s", short(typeURL), nonce, refusal))
}

// now are the resources of a type as they are, and when they change.
func (c *contentOf) now(typeURL string) (version string, all []*anypb.Any, changed chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch typeURL {
	case xds.ChainType:
		all = append(all, content(&configv1.Chain{Name: "a", BodyLimit: c.limit}))
	case xds.RouteType:
		all = append(all, content(&configv1.Route{Name: "r", Chain: "a"}))
	}
	return c.version, all, c.changed
}

// serve is a control plane that keeps to the protocol, in both variants. It tells of types
// that it has nothing of only when it is asked.
func (c *contentOf) serve(method string, s grpc.ServerStream) error {
	incremental := strings.Contains(method, "Delta")
	asked := make(chan string, 100)
	failed := make(chan error, 1)
	go func() {
		seen := map[string]bool{}
		for {
			var w discoveryv3.DiscoveryRequest
			var d discoveryv3.DeltaDiscoveryRequest
			var err error
			if incremental {
				err = s.RecvMsg(&d)
				c.note(d.Node, d.TypeUrl, d.ResponseNonce, d.ErrorDetail.GetMessage())
				w.TypeUrl = d.TypeUrl
			} else {
				err = s.RecvMsg(&w)
				c.note(w.Node, w.TypeUrl, w.ResponseNonce, w.ErrorDetail.GetMessage())
			}
			if err != nil {
				failed <- err
				return
			}
			if !seen[w.TypeUrl] {
				seen[w.TypeUrl] = true
				asked <- w.TypeUrl
			}
		}
	}()
	var types []string
	_, _, changed := c.now("")
	nonce := 0
	send := func(typeURL string) error {
		nonce++
		version, all, _ := c.now(typeURL)
		if !incremental {
			return s.SendMsg(&discoveryv3.DiscoveryResponse{TypeUrl: typeURL, VersionInfo: version, Nonce: fmt.Sprint(nonce), Resources: all})
		}
		m := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL, SystemVersionInfo: version, Nonce: fmt.Sprint(nonce)}
		for _, one := range all {
			name := "a"
			if typeURL == xds.RouteType {
				name = "r"
			}
			m.Resources = append(m.Resources, &discoveryv3.Resource{Name: name, Version: version, Resource: one})
		}
		return s.SendMsg(m)
	}
	for {
		select {
		case err := <-failed:
			return err
		case t := <-asked:
			types = append(types, t)
			if err := send(t); err != nil {
				return err
			}
		case <-changed:
			_, _, changed = c.now("")
			for _, t := range types {
				if err := send(t); err != nil {
					return err
				}
			}
		}
	}
}

// following is a source that runs.
type following struct {
	t      *testing.T
	source *xds.Source
	worker *worker.Worker
	result chan error
	stop   context.CancelFunc
}

func follow(t *testing.T, change func(*xds.Options), planes ...*plane) *following {
	t.Helper()
	w := newWorker(t)
	o := xds.Options{
		Incremental: true, Node: &corev3.Node{Id: "engine", Cluster: "pay"}, Check: check(w), Quiet: 5 * time.Millisecond,
		Backoff: 5 * time.Millisecond, KeepMaxAge: time.Hour, Logger: slog.New(slog.DiscardHandler),
	}
	for _, p := range planes {
		o.Servers = append(o.Servers, config.XDSServer{Address: p.address})
	}
	if change != nil {
		change(&o)
	}
	f := &following{t: t, source: xds.NewSource(o), worker: w, result: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	f.stop = cancel
	go func() { f.result <- f.source.Run(ctx, apply(w)) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-f.result:
		case <-time.After(patience):
			t.Error("the source has not ended")
		}
	})
	return f
}

// until waits until a condition holds.
func (f *following) until(what string, holds func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			f.t.Fatalf("not within %s: %s; in force is %s, status %+v", patience, what, inForce(f.worker), f.source.Status())
		}
		time.Sleep(time.Millisecond)
	}
}

func (f *following) untilInForce(want string) {
	f.t.Helper()
	f.until(want, func() bool { return inForce(f.worker) == want })
}

// TestEveryServiceAndVariant proves that a configuration comes and changes over each of the
// four methods, and that the node is told once.
func TestEveryServiceAndVariant(t *testing.T) {
	for _, dedicated := range []bool{false, true} {
		for _, incremental := range []bool{false, true} {
			t.Run(fmt.Sprintf("dedicated %v incremental %v", dedicated, incremental), func(t *testing.T) {
				c := serving("1", 1)
				var method string
				p := newPlane(t, func(m string, s grpc.ServerStream) error { method = m; return c.serve(m, s) })
				f := follow(t, func(o *xds.Options) { o.Dedicated, o.Incremental = dedicated, incremental }, p)
				f.untilInForce("a(1) r->a")
				c.change("2", 2)
				f.untilInForce("a(2) r->a")
				f.until("every response is answered", func() bool { return f.source.Status().Accepted >= f.source.Status().Responses })
				c.mu.Lock()
				defer c.mu.Unlock()
				if strings.Contains(method, "policyengine.") != dedicated || strings.Contains(method, "Delta") != incremental {
					t.Errorf("the method is %s", method)
				}
				for i, n := range c.nodes {
					if (n.GetId() == "engine" && n.GetCluster() == "pay") != (i == 0) {
						t.Errorf("request %d has the node %v", i, n)
					}
				}
			})
		}
	}
}

// TestTheControlPlaneIsLost proves that nothing changes while no control plane is there,
// that this is visible, and that the engine follows again when it is back with other
// content.
func TestTheControlPlaneIsLost(t *testing.T) {
	c := serving("1", 1)
	p := newPlane(t, c.serve)
	f := follow(t, nil, p)
	f.untilInForce("a(1) r->a")
	p.server.Stop()
	f.until("the loss is visible", func() bool { st := f.source.Status(); return !st.Connected && st.Failures > 2 && st.Problem != "" })
	if got := inForce(f.worker); got != "a(1) r->a" {
		t.Errorf("in force is %s", got)
	}
	c.change("2", 2)
	p.start()
	f.untilInForce("a(2) r->a")
	if st := f.source.Status(); !st.Connected || st.Connects < 2 {
		t.Errorf("%+v", st)
	}
}

// TestServersAreTriedInOrder proves that the second server is used while the first is of no
// use, and that the same version of another server is not taken for the same content.
func TestServersAreTriedInOrder(t *testing.T) {
	for _, variant := range []bool{false, true} {
		t.Run(fmt.Sprintf("incremental %v", variant), func(t *testing.T) {
			one, two := serving("1", 1), serving("1", 2)
			first, second := newPlane(t, one.serve), newPlane(t, two.serve)
			f := follow(t, func(o *xds.Options) { o.Incremental = variant }, first, second)
			f.untilInForce("a(1) r->a")
			first.server.Stop()
			f.untilInForce("a(2) r->a")
			second.server.Stop()
			first.start()
			f.untilInForce("a(1) r->a")
		})
	}
}

// TestServersThatAreOfNoUse proves that the engine goes on to the next server, or keeps what
// is in force, whatever the first one does.
func TestServersThatAreOfNoUse(t *testing.T) {
	block := func(_ string, s grpc.ServerStream) error { <-s.Context().Done(); return nil }
	for _, c := range []struct {
		name   string
		stream func(method string, s grpc.ServerStream) error
		want   string
	}{
		{"it never answers", block, "has not answered"},
		{"it does not have the service", func(string, grpc.ServerStream) error { return status.Error(codes.Unimplemented, "unknown service") }, "unknown service"},
		{"it ends every stream", func(string, grpc.ServerStream) error { return nil }, "EOF"},
		{"it sends no nonce", func(_ string, s grpc.ServerStream) error {
			_ = s.SendMsg(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: xds.ChainType})
			return block("", s)
		}, "nonce"},
		{"it sends what is no response", func(_ string, s grpc.ServerStream) error {
			_ = s.SendMsg(&anypb.Any{TypeUrl: "\x01", Value: []byte{1}})
			return block("", s)
		}, ""},
		{"it sends more than a message may have", func(_ string, s grpc.ServerStream) error {
			_ = s.SendMsg(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: xds.ChainType, Nonce: strings.Repeat("x", 1<<20)})
			return block("", s)
		}, "larger than max"},
	} {
		t.Run(c.name, func(t *testing.T) {
			two := serving("1", 2)
			log := &logged{}
			f := follow(t, func(o *xds.Options) {
				o.Answer, o.MaxMessage, o.Logger = 300*time.Millisecond, 100_000, slog.New(slog.NewTextHandler(log, nil))
			}, newPlane(t, c.stream), newPlane(t, two.serve))
			f.untilInForce("a(2) r->a")
			if !strings.Contains(log.String(), c.want) {
				t.Errorf("logged is %s", log)
			}
		})
	}
}

// logged is a log in memory.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestAServerThatSendsAByteAtATime proves that a connection that does not come about is
// given up.
func TestAServerThatSendsAByteAtATime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var all sync.WaitGroup
	t.Cleanup(func() { close(done); l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				// The beginning of an HTTP/2 SETTINGS frame, and then nothing but zeros.
				for _, b := range append([]byte{0, 255, 255, 4}, make([]byte, 10_000)...) {
					select {
					case <-done:
						return
					case <-time.After(20 * time.Millisecond):
					}
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
				}
			})
		}
	})
	two := serving("1", 2)
	f := follow(t, func(o *xds.Options) {
		o.Answer = 300 * time.Millisecond
		o.Servers = append([]config.XDSServer{{Address: config.Address{Network: "tcp", Address: l.Addr().String()}}}, o.Servers...)
	}, newPlane(t, two.serve))
	f.untilInForce("a(2) r->a")
}

// TestAServerThatNeverStopsSending proves that the engine goes on to take configurations,
// ends when it is told to, and keeps no more than the newest.
func TestAServerThatNeverStopsSending(t *testing.T) {
	p := newPlane(t, func(_ string, s grpc.ServerStream) error {
		for i := uint64(1); ; i++ {
			for _, m := range []*discoveryv3.DeltaDiscoveryResponse{
				{TypeUrl: xds.ChainType, Resources: []*discoveryv3.Resource{{Name: "a", Version: fmt.Sprint(i), Resource: content(&configv1.Chain{Name: "a", BodyLimit: i})}}},
				{TypeUrl: xds.RouteType, Resources: []*discoveryv3.Resource{{Name: "r", Version: "1", Resource: content(&configv1.Route{Name: "r", Chain: "a"})}}},
				{TypeUrl: "type.googleapis.com/policyengine.config.v1.Unknown"},
			} {
				m.Nonce = fmt.Sprint(i)
				if err := s.SendMsg(m); err != nil {
					return err
				}
			}
		}
	})
	f := follow(t, nil, p)
	f.until("several updates", func() bool { return f.worker.Status().Updates > 5 })
	f.stop()
}

// TestBackoff proves that waits grow up to a bound, and differ at random.
func TestBackoff(t *testing.T) {
	for random, want := range map[float64][]time.Duration{
		0: {time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second},
		1: {time.Second / 2, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second, 15 * time.Second},
	} {
		if got := xds.Backoff(time.Second, random, len(want)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("with %v: %v", random, got)
		}
	}
}

// TestExit proves that an engine that is not to wait ends with the reason.
func TestExit(t *testing.T) {
	bad := serving("1", 1<<63)
	for name, c := range map[string]struct {
		plane *plane
		want  string
	}{
		"the first configuration is refused": {newPlane(t, bad.serve), "bodyLimit"},
		"there is no control plane":          {&plane{address: config.Address{Network: "unix", Address: filepath.Join(t.TempDir(), "none")}}, "no control plane can be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			f := follow(t, func(o *xds.Options) { o.Exit = true }, c.plane)
			select {
			case err := <-f.result:
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Error(err)
				}
				f.result <- nil
			case <-time.After(patience):
				t.Error("it has not ended")
			}
		})
	}
}
