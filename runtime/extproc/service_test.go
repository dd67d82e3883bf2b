package extproc_test

import (
	"log/slog"
	"time"

	"policyengine.dev/runtime/extproc"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/memory"
	"policyengine.dev/runtime/telemetry"
)

// options are those of a service and its kernel.
type options struct {
	Filter             negotiate.Settings
	FilterExpressions  negotiate.Expressions
	PreferModeOverride bool
	RouteAttribute     string
	RouteMetadata      string
	TraceContext       bool
	MaxMessage         int64

	BodyLimit int64
	Memory    *memory.Account
	Elapsed   func() time.Duration
	Logger    *slog.Logger
	Recorder  telemetry.Recorder
	Refusals  *telemetry.RefusalLog
	Streams   *telemetry.Streams
}

// newService returns a service with a kernel for the source's chains.
func newService(source kernel.Source, o options) *extproc.Service {
	k := kernel.New(source, kernel.Options{
		BodyLimit: o.BodyLimit, Memory: o.Memory, Elapsed: o.Elapsed, Logger: o.Logger,
		Recorder: o.Recorder, Refusals: o.Refusals, Streams: o.Streams,
	})
	return extproc.New(k, extproc.Options{
		Filter: o.Filter, FilterExpressions: o.FilterExpressions, PreferModeOverride: o.PreferModeOverride,
		RouteAttribute: o.RouteAttribute, RouteMetadata: o.RouteMetadata, TraceContext: o.TraceContext, MaxMessage: o.MaxMessage,
	})
}
