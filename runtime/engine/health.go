package engine

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthService is grpc's own, but for watches, which end when the engine does: they
// would hold up a drain until its deadline.
type healthService struct {
	*health.Server
	// leaving ends when connections are asked to go away.
	leaving context.Context
}

var errLeaving = status.Error(codes.Unavailable, "the engine is about to end")

// Watch implements the service. The last that a watch tells is NOT_SERVING.
func (h healthService) Watch(r *healthpb.HealthCheckRequest, s healthpb.Health_WatchServer) error {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	defer context.AfterFunc(h.leaving, cancel)()
	w := &watch{Health_WatchServer: s, ctx: ctx}
	err := h.Server.Watch(r, w)
	if h.leaving.Err() == nil || s.Context().Err() != nil {
		return err
	}
	if w.told == healthpb.HealthCheckResponse_SERVING {
		if err := s.Send(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}); err != nil {
			return err
		}
	}
	return errLeaving
}

// watch is one client's.
type watch struct {
	healthpb.Health_WatchServer
	ctx  context.Context
	told healthpb.HealthCheckResponse_ServingStatus
}

// Context implements grpc.ServerStream.
func (w *watch) Context() context.Context { return w.ctx }

// Send implements the stream.
func (w *watch) Send(r *healthpb.HealthCheckResponse) error {
	w.told = r.GetStatus()
	return w.Health_WatchServer.Send(r)
}
