package xds

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	discoveryv1 "policyengine.dev/proto/policyengine/discovery/v1"
	"policyengine.dev/runtime/config"
)

// methods are the gRPC methods, by whether the service is that of policies alone and
// whether the variant is the incremental one.
var methods = map[[2]bool]string{
	{false, false}: discoveryv3.AggregatedDiscoveryService_StreamAggregatedResources_FullMethodName,
	{false, true}:  discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName,
	{true, false}:  discoveryv1.PolicyDiscoveryService_StreamPolicies_FullMethodName,
	{true, true}:   discoveryv1.PolicyDiscoveryService_DeltaPolicies_FullMethodName,
}

const (
	// pingAfter and pingTimeout find out that a control plane is gone without a word.
	pingAfter   = 30 * time.Second
	pingTimeout = 10 * time.Second
)

// stream is a stream to one server.
type stream struct {
	conn        *grpc.ClientConn
	client      grpc.ClientStream
	incremental bool
	node        *corev3.Node
	// told says that the server was told the node.
	told bool
}

// open opens a stream, which ends with ctx. The server's files are read anew.
func open(ctx context.Context, server config.XDSServer, o Options) (*stream, error) {
	creds, err := credentialsOf(server)
	if err != nil {
		return nil, err
	}
	target := "dns:///" + server.Address.Address
	if server.Address.Network == "unix" {
		target = "unix:" + server.Address.Address
	}
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(creds), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent("policy-engine"),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(o.MaxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}))
	if err != nil {
		return nil, err
	}
	client, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, methods[[2]bool{o.Dedicated, o.Incremental}])
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &stream{conn: conn, client: client, incremental: o.Incremental, node: o.Node}, nil
}

func (s *stream) close() { s.conn.Close() }

// send sends a request. The first one on a stream has the node.
func (s *stream) send(r Request) error {
	node := s.node
	if s.told {
		node = nil
	}
	s.told = true
	return s.client.SendMsg(message(r, s.incremental, node))
}

func message(r Request, incremental bool, node *corev3.Node) proto.Message {
	var refusal *status.Status
	if r.Refusal != "" {
		refusal = &status.Status{Code: int32(codes.InvalidArgument), Message: r.Refusal}
	}
	if !incremental {
		return &discoveryv3.DiscoveryRequest{
			Node: node, TypeUrl: r.TypeURL, VersionInfo: r.Version, ResponseNonce: r.Nonce, ErrorDetail: refusal,
		}
	}
	m := &discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: r.TypeURL, ResponseNonce: r.Nonce, ErrorDetail: refusal}
	if r.Subscribe {
		m.ResourceNamesSubscribe = []string{"*"}
		m.InitialResourceVersions = r.Initial
	}
	return m
}

const wrapped = "type.googleapis.com/envoy.service.discovery.v3.Resource"

// receive waits for a response.
func (s *stream) receive() (Response, error) {
	if s.incremental {
		var m discoveryv3.DeltaDiscoveryResponse
		if err := s.client.RecvMsg(&m); err != nil {
			return Response{}, err
		}
		r := Response{TypeURL: m.TypeUrl, Version: m.SystemVersionInfo, Nonce: m.Nonce, Removed: m.RemovedResources}
		for _, one := range m.Resources {
			r.Resources = append(r.Resources, Resource{one.GetName(), one.GetVersion(), one.GetResource()})
		}
		return r, nil
	}
	var m discoveryv3.DiscoveryResponse
	if err := s.client.RecvMsg(&m); err != nil {
		return Response{}, err
	}
	return fromWorld(&m), nil
}

// fromWorld is a response of the state-of-the-world variant. Its resources may be wrapped.
func fromWorld(m *discoveryv3.DiscoveryResponse) Response {
	r := Response{TypeURL: m.TypeUrl, Version: m.VersionInfo, Nonce: m.Nonce}
	for _, content := range m.Resources {
		one := Resource{Content: content}
		if content.GetTypeUrl() == wrapped {
			var w discoveryv3.Resource
			if proto.Unmarshal(content.Value, &w) == nil {
				one = Resource{w.Name, "", w.Resource}
			} else {
				one.Content = &anypb.Any{TypeUrl: wrapped}
			}
		}
		r.Resources = append(r.Resources, one)
	}
	return r
}

// credentialsOf reads the files of a server's TLS.
func credentialsOf(server config.XDSServer) (credentials.TransportCredentials, error) {
	if server.TLS == nil {
		return insecure.NewCredentials(), nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: server.TLS.ServerName}
	if ca := server.TLS.CA; ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading %s: %w", ca, errNoCA)
		}
	}
	if server.TLS.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(server.TLS.Certificate, server.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("reading %s and %s: %w", server.TLS.Certificate, server.TLS.Key, err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(t), nil
}

var errNoCA = errors.New("it holds no certificate")
