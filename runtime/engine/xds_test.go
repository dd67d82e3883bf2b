package engine_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/xds"
)

// plane is a control plane over the aggregated service, incremental.
type plane struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	t testing.TB

	mu       sync.Mutex
	value    string // of the chain's policy
	changed  chan struct{}
	node     *corev3.Node
	refusals []string
	server   *grpc.Server
	address  string
}

func newPlane(t testing.TB, tls *tls.Config) *plane {
	p := &plane{t: t, value: "one", changed: make(chan struct{})}
	p.serve(tls)
	return p
}

func (p *plane) serve(tls *tls.Config) {
	if p.address == "" {
		p.address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.address = l.Addr().String()
	p.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(tls)))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(p.server, p)
	go p.server.Serve(l) //nolint:errcheck // it ends with the test
	p.t.Cleanup(p.server.Stop)
}

func (p *plane) set(value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value = value
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *plane) now() (string, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.value, p.changed
}

func (p *plane) DeltaAggregatedResources(s discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	go func() {
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			p.mu.Lock()
			if r.Node != nil {
				p.node = r.Node
			}
			if r.ErrorDetail != nil {
				p.refusals = append(p.refusals, r.ErrorDetail.Message)
			}
			p.mu.Unlock()
		}
	}()
	send := func(url, name, version string, m proto.Message) error {
		a, err := anypb.New(m)
		if err != nil {
			return err
		}
		return s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: url, SystemVersionInfo: version, Nonce: version,
			Resources: []*discoveryv3.Resource{{Name: name, Version: version, Resource: a}}})
	}
	if err := send(xds.RouteType, "r", "1", &configv1.Route{Name: "r", Chain: "c"}); err != nil {
		return err
	}
	for {
		value, changed := p.now()
		err := send(xds.ChainType, "c", value, &configv1.Chain{Name: "c", Policies: []*configv1.Step{{Name: "greeter", Version: "v1", Params: value}}})
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-s.Context().Done():
			return nil
		}
	}
}

// text is the text of an admin page.
func text(r *running, path string) string {
	r.t.Helper()
	_, body := r.page(path)
	return body
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// TestControlPlane proves that an engine takes chains and routes from a control plane over
// mutual TLS, says what it is, refuses with reasons, shows what it knows over CSDS, the
// dump, the metrics and the page of readiness, and reads its certificates again.
func TestControlPlane(t *testing.T) {
	dir := t.TempDir()
	first, second := newAuthority(t), newAuthority(t)
	serverTLS := func(a *authority) *tls.Config {
		cert, key := a.issue(2, "plane.example")
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(a.cert)
		return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"h2"}}
	}
	issue := func(a *authority) {
		cert, key := a.issue(3, "spiffe://example.org/engine")
		put(t, dir, map[string][]byte{"ca.pem": a.pem(), "cert.pem": cert, "key.pem": key})
	}
	p := newPlane(t, serverTLS(first))
	p.set(`{"value":"one"}`)
	issue(first)
	r := start(t, "chains: none", func(e *config.Engine) {
		x := config.DefaultXDS()
		x.NodeID, x.Cluster = "engine-1", "payments"
		x.Servers = []config.XDSServer{{Address: config.Address{Network: "tcp", Address: p.address}, TLS: &config.BackendTLS{
			CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ServerName: "plane.example",
		}}}
		e.Chains, e.XDS, e.OnInvalidStart = "", &x, config.WaitOnInvalidStart
	})
	r.waitReady()
	conn := r.dial(nil)
	greets := func() string {
		reply, err := ask(t, conn)
		if err != nil {
			t.Fatal(err)
		}
		return greeting(reply)
	}
	if got := greets(); got != "one" {
		t.Errorf("the reply is %s", got)
	}

	p.mu.Lock()
	node := p.node
	p.mu.Unlock()
	policies := node.GetMetadata().GetFields()["policies"].GetListValue().GetValues()
	if node.GetId() != "engine-1" || node.GetCluster() != "payments" || node.GetMetadata().GetFields()["schema"].GetStringValue() != "policyengine.config.v1" ||
		len(policies) != 1 || policies[0].GetStructValue().GetFields()["version"].GetStringValue() != "v1.0.0" {
		t.Errorf("the node is %v", node)
	}

	client := statusv3.NewClientStatusDiscoveryServiceClient(conn)
	resources := func() map[string]*statusv3.ClientConfig_GenericXdsConfig {
		response, err := client.FetchClientStatus(bounded(t), &statusv3.ClientStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]*statusv3.ClientConfig_GenericXdsConfig{}
		for _, g := range response.GetConfig()[0].GetGenericXdsConfigs() {
			all[g.TypeUrl[strings.LastIndexByte(g.TypeUrl, '.')+1:]+" "+g.Name] = g
			if g.XdsConfig != nil {
				t.Error("CSDS shows contents")
			}
		}
		return all
	}
	// The configuration is in force a moment before it is acknowledged.
	eventually(t, "CSDS has the acknowledged resources", func() bool {
		all := resources()
		return len(all) == 2 && all["Chain c"].GetClientStatus() == adminv3.ClientResourceStatus_ACKED && all["Route r"].GetConfigStatus() == statusv3.ConfigStatus_SYNCED
	})

	p.set(`{"valu":"typo"}`)
	eventually(t, "the control plane is told why", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.refusals) > 0
	})
	p.mu.Lock()
	if got := p.refusals[0]; !strings.HasPrefix(got, `chain "c": policies[0].params.valu: `) {
		t.Errorf("the refusal is %q", got)
	}
	p.mu.Unlock()
	if got := greets(); got != "one" {
		t.Errorf("a refused configuration is in force: %s", got)
	}
	eventually(t, "CSDS has the refusal and its reason", func() bool {
		c := resources()["Chain c"]
		return c.GetClientStatus() == adminv3.ClientResourceStatus_NACKED && strings.Contains(c.GetErrorState().GetDetails(), "valu")
	})
	stream, err := client.StreamClientStatus(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := stream.Send(&statusv3.ClientStatusRequest{}); err != nil {
			t.Fatal(err)
		}
		if response, err := stream.Recv(); err != nil || len(response.GetConfig()[0].GetGenericXdsConfigs()) != 2 {
			t.Fatalf("%v %v", response, err)
		}
	}
	var dump admin.Dump
	if err := json.Unmarshal([]byte(text(r, "/config_dump")), &dump); err != nil {
		t.Fatal(err)
	}
	if s := dump.Source; s == nil || !s.Connected || s.Server != p.address || !strings.Contains(s.Refused, "valu") || dump.Rejected == nil {
		t.Errorf("the dump has %+v and %+v", dump.Source, dump.Rejected)
	}
	if page := text(r, "/readyz"); !strings.Contains(page, "connected to "+p.address) {
		t.Error(page)
	}
	metrics := text(r, "/metrics")
	for _, want := range []string{"policy_engine_control_plane_connected 1", `policy_engine_control_plane_answers_total{verdict="refused"} 1`, "policy_engine_config_stale 1"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}

	// Another authority: the engine comes back only with what is in the files by then.
	p.server.Stop()
	p.set(`{"value":"two"}`)
	p.serve(serverTLS(second))
	eventually(t, "the loss is shown", func() bool { return strings.Contains(text(r, "/readyz"), "not connected: "+p.address) })
	issue(second)
	eventually(t, "the new configuration is in force", func() bool { return greets() == "two" })
}
