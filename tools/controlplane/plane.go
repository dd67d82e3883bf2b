package controlplane

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	discoveryv1 "policyengine.dev/proto/policyengine/discovery/v1"
)

// Options are what a [Plane] is made with.
type Options struct {
	// Dir is the directory that is served.
	Dir string
	// Engine is an engine's binary, which checks each configuration before it is served;
	// empty leaves what only an engine can tell to the engines.
	Engine string
	// Bind has a client's certificate name its cluster: the last segment of its SPIFFE id
	// or, without one, its DNS name.
	Bind bool
	// Token lets its bearer change configurations over HTTP; empty lets nobody.
	Token string
	// Poll is how often the directory is looked at; 0 is 1 s.
	Poll   time.Duration
	Logger *slog.Logger
}

// Plane serves a directory. Make one with [New], register it, and [Plane.Watch]. Safe for
// concurrent use.
type Plane struct {
	options  Options
	contents *contents
	server   server.Server

	// changing serialises what reads and writes the directory.
	changing sync.Mutex
	mu       sync.Mutex
	engines  map[int64]*Engine
	problems map[string]string // by cluster
	seen     map[string]string // by cluster: what was read last
}

// Engine is an engine that is connected.
type Engine struct {
	ID      string `json:"id"`
	Cluster string `json:"cluster,omitempty"`
	Peer    string `json:"peer"`
	// Policies are those that the engine's binary has.
	Policies []string  `json:"policies,omitempty"`
	Since    time.Time `json:"since"`
	// Sent and Accepted are versions of each type, by its URL, and Refused why the newest
	// response of a type was refused.
	Sent     map[string]string `json:"sent"`
	Accepted map[string]string `json:"accepted"`
	Refused  map[string]string `json:"refused,omitempty"`

	identity string
	pending  map[string]map[string]string // versions by type and nonce
}

// Status is what a [Plane] serves, and to whom.
type Status struct {
	// Versions are the versions that are served, by cluster.
	Versions map[string]string `json:"versions"`
	// Problems say why what is in a cluster's directory is not served.
	Problems map[string]string `json:"problems,omitempty"`
	Engines  []Engine          `json:"engines"`
}

// New reads the directory. The error says why nothing of it can be served.
func New(ctx context.Context, o Options) (*Plane, error) {
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	p := &Plane{options: o, engines: map[int64]*Engine{}, problems: map[string]string{}, seen: map[string]string{}}
	p.contents = newContents(func(n *corev3.Node) (string, error) { return n.GetCluster(), nil })
	p.server = server.NewServer(ctx, p.contents, callbacks{p})
	p.Reload(ctx)
	st := p.Status()
	if len(st.Versions) == 0 {
		var all []error
		for _, cluster := range slices.Sorted(maps.Keys(st.Problems)) {
			all = append(all, errors.New(st.Problems[cluster]))
		}
		return nil, errors.Join(append(all, fmt.Errorf("nothing in %s can be served", o.Dir))...)
	}
	return p, nil
}

// Register adds both services to a server.
func (p *Plane) Register(s *grpc.Server) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s, p.server)
	discoveryv1.RegisterPolicyDiscoveryServiceServer(s, policies{server: p.server})
}

// policies is the PolicyDiscoveryService.
type policies struct {
	discoveryv1.UnimplementedPolicyDiscoveryServiceServer
	server server.Server
}

// StreamPolicies implements the service.
func (s policies) StreamPolicies(stream discoveryv1.PolicyDiscoveryService_StreamPoliciesServer) error {
	return s.server.StreamHandler(stream, resource.AnyType)
}

// DeltaPolicies implements the service.
func (s policies) DeltaPolicies(stream discoveryv1.PolicyDiscoveryService_DeltaPoliciesServer) error {
	return s.server.DeltaStreamHandler(stream, resource.AnyType)
}

// Watch reads the directory again when it changes, until ctx ends.
func (p *Plane) Watch(ctx context.Context) {
	tick := time.NewTicker(p.options.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.Reload(ctx)
		}
	}
}

// Reload reads the directory, and serves what is good in it. A cluster whose directory is
// bad or gone keeps what it has.
func (p *Plane) Reload(ctx context.Context) {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.reload(ctx)
}

func (p *Plane) reload(ctx context.Context) {
	all, err := clusters(p.options.Dir)
	if err != nil {
		p.problem("", err)
		return
	}
	for _, cluster := range slices.Sorted(maps.Keys(all)) {
		c, err := load(all[cluster])
		key := ""
		if err != nil {
			key = err.Error()
		} else {
			key = c.version
		}
		if p.seen[cluster] == key {
			continue
		}
		p.seen[cluster] = key
		if err == nil {
			err = p.check(ctx, all[cluster])
		}
		if err != nil {
			p.problem(cluster, err)
			continue
		}
		p.mu.Lock()
		delete(p.problems, cluster)
		p.mu.Unlock()
		p.contents.set(cluster, c)
		if err := remember(all[cluster], c.version); err != nil {
			p.options.Logger.Error("version not stored", slog.String("cluster", cluster), slog.Any("error", err))
		}
		p.options.Logger.Info("configuration served", slog.String("cluster", cluster), slog.String("version", c.version))
	}
}

func (p *Plane) problem(cluster string, err error) {
	p.mu.Lock()
	news := p.problems[cluster] != err.Error()
	p.problems[cluster] = err.Error()
	p.mu.Unlock()
	if news {
		p.options.Logger.Error("configuration not served; what was served stays", slog.String("cluster", cluster), slog.Any("error", err))
	}
}

// checkTimeout bounds a check by an engine's binary.
const checkTimeout = time.Minute

// check has an engine check a directory.
func (p *Plane) check(ctx context.Context, dir string) error {
	if p.options.Engine == "" {
		return nil
	}
	scratch, err := os.MkdirTemp("", "control-plane-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	b, err := json.Marshal(map[string]any{"source": map[string]string{"path": absolute}}) // JSON is YAML
	if err != nil {
		return err
	}
	file := filepath.Join(scratch, "engine.yaml")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, p.options.Engine, "check", "--config", file)
	var out bytes.Buffer
	command.Stdout, command.Stderr = io.Discard, &out
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s\n%s check: %w", strings.TrimSpace(out.String()), filepath.Base(p.options.Engine), err)
	}
	return nil
}

// Status returns what is served, and to whom. Engines are sorted by cluster and id.
func (p *Plane) Status() Status {
	st := Status{Versions: map[string]string{}, Engines: []Engine{}}
	p.contents.mu.Lock()
	for cluster, c := range p.contents.clusters {
		if c != nil {
			st.Versions[cluster] = c.version
		}
	}
	p.contents.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	st.Problems = maps.Clone(p.problems)
	for _, e := range p.engines {
		if e.ID == "" {
			continue // it has not said who it is
		}
		one := *e
		one.Sent, one.Accepted, one.Refused = maps.Clone(e.Sent), maps.Clone(e.Accepted), maps.Clone(e.Refused)
		st.Engines = append(st.Engines, one)
	}
	slices.SortFunc(st.Engines, func(a, b Engine) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.ID, b.ID), a.Since.Compare(b.Since))
	})
	return st
}

// identityOf is the cluster that a client's certificate names, or empty.
func identityOf(ctx context.Context) (address, identity string) {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return "", ""
	}
	address = from.Addr.String()
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return address, ""
	}
	leaf := info.State.VerifiedChains[0][0]
	for _, id := range leaf.URIs {
		if id.Scheme == "spiffe" {
			return address, lastSegment(id)
		}
	}
	if len(leaf.DNSNames) > 0 {
		return address, leaf.DNSNames[0]
	}
	return address, ""
}

func lastSegment(id *url.URL) string { return id.Path[strings.LastIndexByte(id.Path, '/')+1:] }

// callbacks tell a plane what happens on streams.
type callbacks struct{ plane *Plane }

func (c callbacks) open(ctx context.Context, id int64) error {
	address, identity := identityOf(ctx)
	if c.plane.options.Bind && identity == "" {
		return status.Error(codes.PermissionDenied, "the client's certificate names no cluster; give it a SPIFFE id whose last segment is the cluster, or a DNS name")
	}
	c.plane.mu.Lock()
	defer c.plane.mu.Unlock()
	c.plane.engines[id] = &Engine{Peer: address, identity: identity, Since: time.Now(),
		Sent: map[string]string{}, Accepted: map[string]string{}, Refused: map[string]string{}, pending: map[string]map[string]string{}}
	return nil
}

func (c callbacks) closed(id int64) {
	c.plane.mu.Lock()
	defer c.plane.mu.Unlock()
	delete(c.plane.engines, id)
}

// request takes note of a request, and refuses nodes that may not have what they ask for.
func (c callbacks) request(id int64, node *corev3.Node, typeURL, nonce string, refused *string) error {
	c.plane.mu.Lock()
	defer c.plane.mu.Unlock()
	e := c.plane.engines[id]
	if e == nil {
		return nil
	}
	if node != nil && e.ID == "" {
		cluster := node.GetCluster()
		switch {
		case cluster != "" && !clusterName.MatchString(cluster):
			return status.Errorf(codes.InvalidArgument, "node.cluster %.200q is not a name of a cluster; write letters, digits, '.', '_', ':' and '-'", cluster)
		case c.plane.options.Bind && cluster != e.identity:
			return status.Errorf(codes.PermissionDenied, "node.cluster is %q, and the client's certificate is for %q", cluster, e.identity)
		}
		e.ID, e.Cluster = cmp.Or(node.GetId(), "unnamed"), cluster
		for _, v := range node.GetMetadata().GetFields()["policies"].GetListValue().GetValues() {
			f := v.GetStructValue().GetFields()
			e.Policies = append(e.Policies, f["name"].GetStringValue()+"@"+f["version"].GetStringValue())
		}
	}
	version, known := e.pending[typeURL][nonce]
	switch {
	case nonce == "" || !known:
	case refused != nil:
		e.Refused[typeURL] = *refused
		c.plane.options.Logger.Warn("engine refuses", slog.String("engine", e.ID), slog.String("cluster", e.Cluster),
			slog.String("type", typeURL), slog.String("version", version), slog.String("reason", *refused))
	default:
		e.Accepted[typeURL] = version
		delete(e.Refused, typeURL)
	}
	return nil
}

// maxPending bounds the responses of a type whose answers are awaited.
const maxPending = 100

func (c callbacks) sent(id int64, typeURL, version, nonce string) {
	c.plane.mu.Lock()
	defer c.plane.mu.Unlock()
	e := c.plane.engines[id]
	if e == nil {
		return
	}
	e.Sent[typeURL] = version
	if e.pending[typeURL] == nil || len(e.pending[typeURL]) > maxPending {
		e.pending[typeURL] = map[string]string{}
	}
	e.pending[typeURL][nonce] = version
}

func (c callbacks) OnStreamOpen(ctx context.Context, id int64, _ string) error {
	return c.open(ctx, id)
}
func (c callbacks) OnStreamClosed(id int64, _ *corev3.Node) { c.closed(id) }

// Ids of the two variants' streams are counted apart.
func (c callbacks) OnDeltaStreamOpen(ctx context.Context, id int64, _ string) error {
	return c.open(ctx, -id)
}
func (c callbacks) OnDeltaStreamClosed(id int64, _ *corev3.Node) { c.closed(-id) }

func (c callbacks) OnStreamRequest(id int64, r *discoveryv3.DiscoveryRequest) error {
	return c.request(id, r.GetNode(), r.GetTypeUrl(), r.GetResponseNonce(), refusal(r.GetErrorDetail()))
}

func (c callbacks) OnStreamDeltaRequest(id int64, r *discoveryv3.DeltaDiscoveryRequest) error {
	return c.request(-id, r.GetNode(), r.GetTypeUrl(), r.GetResponseNonce(), refusal(r.GetErrorDetail()))
}

// refusal is the reason of an answer that is one.
func refusal(detail interface{ GetMessage() string }) *string {
	if text := detail.GetMessage(); text != "" {
		return &text
	}
	return nil
}

func (c callbacks) OnStreamResponse(_ context.Context, id int64, _ *discoveryv3.DiscoveryRequest, r *discoveryv3.DiscoveryResponse) {
	c.sent(id, r.GetTypeUrl(), r.GetVersionInfo(), r.GetNonce())
}

func (c callbacks) OnStreamDeltaResponse(id int64, _ *discoveryv3.DeltaDiscoveryRequest, r *discoveryv3.DeltaDiscoveryResponse) {
	c.sent(-id, r.GetTypeUrl(), r.GetSystemVersionInfo(), r.GetNonce())
}

func (callbacks) OnFetchRequest(context.Context, *discoveryv3.DiscoveryRequest) error {
	return status.Error(codes.Unimplemented, "resources are served over streams alone")
}
func (callbacks) OnFetchResponse(*discoveryv3.DiscoveryRequest, *discoveryv3.DiscoveryResponse) {}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
