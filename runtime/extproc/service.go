package extproc

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/kernel"
)

// Options configure a [Service]. The zero value is usable.
type Options struct {
	// Filter is what filters without a stamp allow.
	Filter negotiate.Settings
	// FilterExpressions are what such filters say of single headers.
	FilterExpressions negotiate.Expressions
	// PreferModeOverride lets the service ask for request bodies that Envoy does not
	// show, by mode overrides, if the filter's settings allow them and an ignored
	// override would show. Without it a chain that reads bodies is served only where
	// Envoy itself tells that it sends them.
	PreferModeOverride bool
	// RouteAttribute is the attribute that holds the route's name; empty means
	// [DefaultRouteAttribute].
	RouteAttribute string
	// RouteMetadata, if not empty, is the key of the stream's initial metadata that
	// holds the route's name; RouteAttribute is not read then.
	RouteMetadata string
	// TraceContext has exchanges carry the W3C trace context of the stream's
	// initial metadata, which is there where Envoy itself traces.
	TraceContext bool
	// MaxMessage bounds a message, in bytes; 0 means [DefaultMaxMessage].
	MaxMessage int64
}

const (
	// DefaultRouteAttribute is the route's name in Envoy's configuration.
	DefaultRouteAttribute = "xds.route_name"
	// DefaultMaxMessage is 65 MiB.
	DefaultMaxMessage = 65 << 20
)

// Service carries exchanges between Envoy and a kernel: one gRPC stream is one exchange.
// Safe for concurrent use.
type Service struct {
	kernel  *kernel.Kernel
	options Options
	// declared is what filters without a stamp allow, stamps what the others allow.
	declared *negotiate.Allowance
	stamps   negotiate.Allowances
	// findings are the filters that did not do what their settings say.
	findings negotiate.Ledger
	streams  sync.Pool
}

// New returns a service for the kernel's chains.
//
// A chain that needs more than the filter shows is refused as FILTER_CANNOT_SERVE_CHAIN, on
// every request. Envoy itself tells in which modes it sends bodies; what else a filter does
// is in its stamp (see package negotiate), or in Options.Filter if there is no stamp.
func New(k *kernel.Kernel, options Options) *Service {
	if options.RouteAttribute == "" {
		options.RouteAttribute = DefaultRouteAttribute
	}
	if options.MaxMessage <= 0 {
		options.MaxMessage = DefaultMaxMessage
	}
	s := &Service{kernel: k, options: options, declared: negotiate.Declared(options.Filter, options.FilterExpressions)}
	s.streams.New = func() any { return &stream{service: s, done: make(chan struct{}, 1)} }
	return s
}

// Findings are the filters that did not do what their settings say, by stamp and
// connection: chains that depend on it are refused there. Connections are told apart by
// [negotiate.Track].
func (s *Service) Findings() []*negotiate.Finding { return s.findings.Findings() }

// ServiceName is the gRPC service that a [Service] implements.
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

// Register adds the service to r, a server made with wire.Codec as its codec
// (grpc.ForceServerCodecV2).
func (s *Service) Register(r grpc.ServiceRegistrar) { r.RegisterService(&service, s) }

var errInternal = status.Error(codes.Internal, "the policy engine failed on this stream")

// statusOf is an error of the kernel as gRPC tells it.
func statusOf(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	return errInternal
}

// process is the handler of one stream.
func (s *Service) process(ss grpc.ServerStream) (err error) {
	st := s.streams.Get().(*stream)
	counts := s.kernel.Options().Streams
	counts.Started.Add(1)
	counts.Open.Add(1)
	back := false
	// A panic here is a fault of the engine, and must neither end the process
	// nor let the request pass. The stream is not used again.
	defer func() {
		if v := recover(); v != nil {
			s.panicked(v)
			st.exchange.Abandon()
			st.giveBack()
			err = errInternal
		} else if !back {
			// A policy has ended this goroutine. The stream goes on elsewhere.
			st.sideDone()
		}
		if err != nil && status.Code(err) != codes.Canceled {
			counts.Failed.Add(1)
		}
		counts.Open.Add(-1)
	}()
	st.begin(ss)
	if st.loop() == elsewhere {
		// This goroutine was held up in a policy, and the stream has gone on
		// elsewhere. It ends when this returns.
		<-st.done
		back = true
		st.sideDone()
		return st.err
	}
	back = true
	err = st.err
	st.exchange.End()
	st.giveBack()
	st.recycle()
	s.streams.Put(st)
	return err
}

func (s *Service) panicked(v any) {
	o := s.kernel.Options()
	o.Streams.Panics.Add(1)
	o.Logger.Error("panic in the kernel or its carrier", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
}
