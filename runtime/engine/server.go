package engine

import (
	"time"

	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc"
	channelz "google.golang.org/grpc/channelz/service"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/extproc"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/kernel"
)

const (
	// messageOverhead is what a message may have beside a body: headers, which
	// Envoy bounds at 60 KiB by default and 8 MiB at most, and attributes.
	messageOverhead = 1 << 20
	// bodyCeiling is how large a body a chain may ask for even where
	// limits.body is less: a message of that size can be received.
	bodyCeiling = 64 << 20

	// maxMetadata bounds the header list with which a stream begins, as HTTP/2 counts
	// it. These headers are Envoy's own: the headers of an HTTP request come in a
	// message. What a filter adds (grpc_initial_metadata) can be headers of the
	// request, of which Envoy by default takes 60 KiB.
	maxMetadata = 64 << 10

	// handshakeTimeout bounds what a client takes to say that it speaks
	// HTTP/2, TLS included.
	handshakeTimeout = 10 * time.Second
	// pingAfter and pingTimeout find out that an Envoy is gone without a word.
	pingAfter   = 30 * time.Second
	pingTimeout = 10 * time.Second
	// pingsAtLeast is how often Envoy may ping; it does so every second at
	// most by any sensible configuration.
	pingsAtLeast = time.Second
)

// largestBody is the largest body limit that a chain may have.
func largestBody(static config.Engine) int64 { return max(static.Limits.Body, bodyCeiling) }

// newServer makes the gRPC server. What each of the options that concern speed does
// is in docs/performance.md.
func (e *Engine) newServer() {
	c := e.static.Connections
	age, grace := c.MaxAge, c.MaxAgeGrace
	if age == 0 {
		grace = 0
	}
	options := append(extproc.ServerOptions(),
		grpc.Creds(handshaker{logger: e.logger}),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.MaxRecvMsgSize(int(largestBody(e.static))+messageOverhead), // of the other services
		grpc.MaxHeaderListSize(maxMetadata),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			// grpc spreads the age by a tenth either way, so that Envoys
			// that came together do not leave together.
			MaxConnectionAge: age, MaxConnectionAgeGrace: grace,
			Time: pingAfter, Timeout: pingTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingsAtLeast, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)
	// 0 is no bound to grpc as well.
	options = append(options, grpc.MaxConcurrentStreams(e.static.Limits.ConcurrentStreams))
	e.grpc = grpc.NewServer(options...)
	k := kernel.New(source{e.worker}, kernel.Options{
		BodyLimit: e.static.Limits.Body, Memory: e.memory, Logger: e.logger,
		Recorder: e.recorder, Refusals: e.refusals, Streams: &e.streams,
	})
	e.extproc = extproc.New(k, extprocOptions(e.static, e.expressions))
	e.extproc.Register(e.grpc)
	e.health = health.NewServer()
	e.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	e.health.SetServingStatus(extproc.ServiceName, healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(e.grpc, healthService{e.health, e.leaving})
	if e.xds != nil {
		statusv3.RegisterClientStatusDiscoveryServiceServer(e.grpc, clientStatus{e.xds})
	}
	channelz.RegisterChannelzServiceToServer(e.grpc)
	reflection.Register(e.grpc)
}

// extprocOptions are those of the service that speaks to Envoy.
func extprocOptions(static config.Engine, expressions negotiate.Expressions) extproc.Options {
	return extproc.Options{
		Filter:             settings(static.Filter),
		FilterExpressions:  expressions,
		PreferModeOverride: static.Filter.PreferModeOverride,
		RouteAttribute:     static.Route.Attribute,
		RouteMetadata:      static.Route.StreamMetadata,
		MaxMessage:         largestBody(static) + messageOverhead,
		TraceContext:       static.Telemetry.Tracing.Endpoint != "",
	}
}

// settings are what engine.yaml declares of the filter, as extproc sees it.
func settings(f config.Filter) negotiate.Settings {
	return negotiate.Settings{
		// The kernel sends many modes; a list that lets only some of them
		// pass would have the others ignored in silence.
		ModeOverride:        f.AllowModeOverride && len(f.AllowedOverrideModes) == 0,
		MessageTimeout:      f.MessageTimeout,
		SkipResponseHeaders: f.ProcessingMode.ResponseHeaders == config.HeaderModeSkip,
		RequestTrailers:     f.ProcessingMode.RequestTrailers == config.HeaderModeSend,
		ResponseTrailers:    f.ProcessingMode.ResponseTrailers == config.HeaderModeSend,
		Routing:             f.MutationRules.AllowAllRouting,
		EnvoyHeaders:        f.MutationRules.AllowEnvoy,
		NoSystem:            f.MutationRules.DisallowSystem,
		NoHeaders:           f.MutationRules.DisallowAll,
		MaxHeaders:          f.MaxHeaders,
		MaxHeadersKB:        f.MaxHeadersKB,
		RouteName:           f.RouteName,
	}
}
