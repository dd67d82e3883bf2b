package trial

import (
	"context"
	"fmt"
	"sync"
	"time"

	"policyengine.dev/runtime/inmemory"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/telemetry"
)

// Record keeps the decision of one exchange. It is a telemetry.Recorder, which the worker
// and the kernel of the trial have to be made with.
type Record struct {
	mu       sync.Mutex
	decision *telemetry.Decision
}

// Record implements telemetry.Recorder.
func (r *Record) Record(d *telemetry.Decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decision = d
}

// Options configure a trial.
type Options struct {
	// BodyLimit bounds a whole body, as in engine.yaml; 0 means the default.
	BodyLimit int64
	// Budget is the time for the phases of one part; 0 means [DefaultBudget].
	Budget time.Duration
	// ShowSecrets has the report contain the values of headers that may be secret.
	ShowSecrets bool
}

// DefaultBudget is longer than that of a proxy: somebody waits for the trial alone.
const DefaultBudget = 30 * time.Second

// Run carries the exchange of a file through the chains of a source, whose executors tell
// record of their decisions.
func Run(ctx context.Context, source kernel.Source, record *Record, f *File, o Options) (*Report, error) {
	if o.Budget <= 0 {
		o.Budget = DefaultBudget
	}
	k := kernel.New(source, kernel.Options{BodyLimit: o.BodyLimit, Recorder: record})
	carrier := inmemory.New(k, inmemory.Options{Terms: kernel.Terms{Budget: o.Budget}})
	result, err := carrier.Do(ctx, f.request(), f.upstream)
	if err != nil {
		return nil, fmt.Errorf("trying the request: %w", err)
	}
	record.mu.Lock()
	defer record.mu.Unlock()
	return report(f, record.decision, result, o.ShowSecrets), nil
}
