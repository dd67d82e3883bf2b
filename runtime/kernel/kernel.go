package kernel

import (
	"log/slog"
	"time"

	"policyengine.dev/runtime/memory"
	"policyengine.dev/runtime/telemetry"
)

// Options configure a [Kernel]. The zero value is usable.
type Options struct {
	// BodyLimit bounds a whole body, in bytes, for chains that set no limit;
	// 0 means [DefaultBodyLimit].
	BodyLimit int64
	// Memory bounds all bodies in flight together; nil sets no bound.
	Memory *memory.Account
	// Elapsed is the clock by which parts are measured and bounded: monotonic, with any
	// origin. nil means the system's.
	Elapsed func() time.Duration
	// Now is the time of day that records have; nil means the system's.
	Now func() time.Time
	// Logger receives the engine's own faults; nil drops them.
	Logger *slog.Logger
	// Recorder receives the records of refusals before a chain was found; the worker
	// records the other exchanges. nil records none.
	Recorder telemetry.Recorder
	// Refusals logs such refusals; nil logs none.
	Refusals *telemetry.RefusalLog
	// Streams counts exchanges and refusals; nil counts for nobody.
	Streams *telemetry.Streams
}

// DefaultBodyLimit is 10 MiB.
const DefaultBodyLimit = 10 << 20

// Kernel decides exchanges by the configurations of one source. Safe for concurrent use.
type Kernel struct {
	source  Source
	options Options
}

// New returns a kernel for the chains of a source.
//
// Without a configuration every request is refused as NOT_READY. The configuration says
// what becomes of a request on a route without a chain.
func New(source Source, options Options) *Kernel {
	if options.BodyLimit <= 0 {
		options.BodyLimit = DefaultBodyLimit
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
	return &Kernel{source: source, options: options}
}

// Options are those of the kernel, with defaults filled in. They must not be modified.
func (k *Kernel) Options() *Options { return &k.options }
