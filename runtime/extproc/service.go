package extproc

import (
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/memory"
	"policyengine.dev/runtime/telemetry"
)

// Options say how a [Service] behaves. The zero value is good.
type Options struct {
	// Filter is what filters allow that carry no stamp.
	Filter negotiate.Settings
	// FilterExpressions are what such filters say of single headers.
	FilterExpressions negotiate.Expressions
	// PreferModeOverride has the kernel ask for request bodies that Envoy does not
	// show, by mode overrides, where filters are said to allow them and it would
	// show that one was ignored. Without it a chain that reads bodies is served
	// only where Envoy itself tells that it sends them.
	PreferModeOverride bool
	// RouteAttribute is the attribute that holds the route's name; empty
	// counts as [DefaultRouteAttribute].
	RouteAttribute string
	// RouteMetadata, where it is not empty, is the key of the stream's initial
	// metadata that holds the route's name; RouteAttribute is not read then.
	RouteMetadata string
	// BodyLimit bounds a whole body, in bytes, for chains that set no limit;
	// 0 counts as [DefaultBodyLimit].
	BodyLimit int64
	// TraceContext has exchanges carry the W3C trace context of the stream's
	// initial metadata, which is there where Envoy itself traces.
	TraceContext bool
	// MaxMessage bounds a message, in bytes; 0 counts as [DefaultMaxMessage].
	MaxMessage int64
	// Memory bounds all bodies in flight together; nil has no bound.
	Memory *memory.Account
	// Elapsed is the time by which messages are measured and bounded: a monotonic
	// clock that begins anywhere. nil is the system's.
	Elapsed func() time.Duration
	// Now is the time of day that records have; nil is the system's.
	Now func() time.Time
	// Logger is told of the kernel's own faults; nil drops them.
	Logger *slog.Logger
	// Recorder receives the records of refusals on streams without a chain; the
	// worker makes those of the others. nil makes none.
	Recorder telemetry.Recorder
	// Refusals logs such refusals; nil logs none.
	Refusals *telemetry.RefusalLog
	// Streams counts what the kernel does; nil counts for nobody.
	Streams *telemetry.Streams
}

const (
	// DefaultRouteAttribute is the route's name in Envoy's configuration.
	DefaultRouteAttribute = "xds.route_name"
	// DefaultBodyLimit is 10 MiB.
	DefaultBodyLimit = 10 << 20
	// DefaultMaxMessage is 65 MiB.
	DefaultMaxMessage = 65 << 20
)

// Service answers ext_proc streams. Safe for concurrent use.
type Service struct {
	source  kernel.Source
	options Options
	// declared is what filters allow that carry no stamp, stamps what the others
	// allow.
	declared *allowance
	stamps   allowances
	// findings are the filters that do not do what is said of them.
	findings negotiate.Ledger
	streams  sync.Pool
}

// New returns a kernel for the source's chains.
//
// A request on a route that has no chain is answered as the snapshot says; without
// a snapshot every request is answered NOT_READY. A chain that needs more than the
// filter shows is answered FILTER_CANNOT_SERVE_CHAIN, on every request. Envoy itself
// tells in which modes it sends bodies; what else a filter does is in the stamp of
// package filter, or in Options.Filter where there is no stamp.
func New(source kernel.Source, options Options) *Service {
	if options.RouteAttribute == "" {
		options.RouteAttribute = DefaultRouteAttribute
	}
	if options.BodyLimit <= 0 {
		options.BodyLimit = DefaultBodyLimit
	}
	if options.MaxMessage <= 0 {
		options.MaxMessage = DefaultMaxMessage
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Elapsed == nil {
		began := time.Now()
		options.Elapsed = func() time.Duration { return time.Since(began) }
	}
	if options.Streams == nil {
		options.Streams = new(telemetry.Streams)
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Service{source: source, options: options, declared: newAllowance("", options.Filter, nil)}
	k.streams.New = func() any { return &stream{kernel: k, done: make(chan struct{}, 1)} }
	return k
}

// Findings are the filters that do not do what is said of them, by their stamp and
// connection: chains that depend on it are refused there. Connections are told apart by
// [negotiate.Track].
func (k *Service) Findings() []*negotiate.Finding { return k.findings.Findings() }

// ServiceName is the gRPC service that the kernel implements.
const ServiceName = "envoy.service.ext_proc.v3.ExternalProcessor"

type processor interface{ process(grpc.ServerStream) error }

var service = grpc.ServiceDesc{
	ServiceName: ServiceName,
	HandlerType: (*processor)(nil),
	Streams: []grpc.StreamDesc{{
		StreamName: "Process",
		Handler: func(srv any, ss grpc.ServerStream) error {
			return srv.(processor).process(ss)
		},
		ServerStreams: true,
		ClientStreams: true,
	}},
	Metadata: "envoy/service/ext_proc/v3/external_processor.proto",
}

// Register adds the service to s, a server made with wire.Codec as its codec
// (grpc.ForceServerCodecV2).
func (k *Service) Register(s grpc.ServiceRegistrar) { s.RegisterService(&service, k) }

var errInternal = status.Error(codes.Internal, "the policy engine failed on this stream")

// process is the handler of one stream.
func (k *Service) process(ss grpc.ServerStream) (err error) {
	st := k.streams.Get().(*stream)
	counts := k.options.Streams
	counts.Started.Add(1)
	counts.Open.Add(1)
	back := false
	// A panic here is a fault of the engine, and must neither end the process
	// nor let the request pass. The stream is not used again.
	defer func() {
		if v := recover(); v != nil {
			k.panicked(v)
			st.abandon()
			st.giveAll()
			err = errInternal
		} else if !back {
			// A policy has ended this goroutine. The stream goes on elsewhere.
			st.over()
		}
		if err != nil && status.Code(err) != codes.Canceled {
			counts.Failed.Add(1)
		}
		counts.Open.Add(-1)
	}()
	st.begin(ss)
	v := st.loop()
	if v == takenOver {
		// This goroutine was held up in a policy, and the stream has gone on
		// elsewhere. It is not over before this returns.
		<-st.done
		back = true
		st.over()
		return st.err
	}
	back = true
	err = st.err
	st.end()
	st.giveAll()
	st.recycle()
	k.streams.Put(st)
	return err
}

func (k *Service) panicked(v any) {
	k.options.Streams.Panics.Add(1)
	k.options.Logger.Error("panic in the kernel", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
}
