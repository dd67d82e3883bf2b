package engine

import (
	"context"
	"errors"
	"io"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/config/xds"
)

// clientStatus serves client status discovery (CSDS): which resources of the control plane
// the engine knows, and whether each is in force. It does not show what they say.
type clientStatus struct{ source *xds.Source }

// FetchClientStatus implements the service.
func (c clientStatus) FetchClientStatus(_ context.Context, r *statusv3.ClientStatusRequest) (*statusv3.ClientStatusResponse, error) {
	if len(r.GetNodeMatchers()) > 0 {
		return nil, status.Error(codes.InvalidArgument, "node matchers are not supported: the engine tells of itself alone")
	}
	config := &statusv3.ClientConfig{Node: c.source.Node()}
	for _, t := range c.source.Status().Types {
		for _, one := range t.Resources {
			g := &statusv3.ClientConfig_GenericXdsConfig{
				TypeUrl: t.URL, Name: one.Name, VersionInfo: one.Version,
				ConfigStatus: statusv3.ConfigStatus_STALE, ClientStatus: adminv3.ClientResourceStatus_REQUESTED,
			}
			if g.VersionInfo == "" {
				g.VersionInfo = t.Version
			}
			switch {
			case one.InForce:
				g.ConfigStatus, g.ClientStatus = statusv3.ConfigStatus_SYNCED, adminv3.ClientResourceStatus_ACKED
			case one.Problem != "":
				g.ConfigStatus, g.ClientStatus = statusv3.ConfigStatus_ERROR, adminv3.ClientResourceStatus_NACKED
				g.ErrorState = &adminv3.UpdateFailureState{Details: one.Problem}
			}
			config.GenericXdsConfigs = append(config.GenericXdsConfigs, g)
		}
	}
	return &statusv3.ClientStatusResponse{Config: []*statusv3.ClientConfig{config}}, nil
}

// StreamClientStatus implements the service. It answers each request.
func (c clientStatus) StreamClientStatus(s statusv3.ClientStatusDiscoveryService_StreamClientStatusServer) error {
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		response, err := c.FetchClientStatus(s.Context(), r)
		if err != nil {
			return err
		}
		if err := s.Send(response); err != nil {
			return err
		}
	}
}
