package worker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/sharing"
)

// Options are what a [Worker] needs from outside.
type Options struct {
	// Host is given to policies; its Logger and Metrics through HostFor. Clock
	// and Logger are the worker's own as well.
	Host policy.Host
	// HostFor returns the host of one policy in one chain. Without chain and id
	// it is that of a resource which several instances of the policy share. nil
	// adds the policy's name to Host's logger and changes nothing else.
	HostFor func(chain, id string, v *Version) policy.Host
	// Elapsed is the time by which calls are measured and bounded: a monotonic clock
	// in nanoseconds that begins anywhere. nil is the system's. It is called twice
	// for each call of a policy.
	Elapsed func() time.Duration
	// Recorder receives decision records; nil makes none.
	Recorder telemetry.Recorder
	// Forget is called after an update, taken or refused, for each place in a chain at which there was an instance of a
	// version, be it only for the update, and at which the configuration in force has none. nil tells nobody.
	Forget func(chain, id string, v *Version)
	// Detail says how far apart steps are counted; each by itself by default.
	Detail Detail
	// Refusals logs requests that were refused; nil logs none.
	Refusals *telemetry.RefusalLog
	// StartTimeout bounds one attempt to start a policy; 0 is 10 s.
	StartTimeout time.Duration
	// HoldLimit bounds what a chunk policy may hold back, in bytes, where the
	// chain has no body limit of its own; 0 is 10 MiB.
	HoldLimit int
	// Sites returns the site at which the instances of a version run, or nil for this
	// process. nil has all run in this process.
	Sites func(v *Version) Site
}

const (
	defaultStartTimeout = 10 * time.Second
	defaultHoldLimit    = 10 << 20
)

// Worker holds the newest valid configuration and the instances of its policies.
// Safe for concurrent use.
type Worker struct {
	registry *Registry
	options  Options
	clock    *clock
	watchdog *watchdog
	runs     sync.Pool
	// made counts runs, and identity is the key of ids of requests that have none.
	made     atomic.Uint64
	identity *[16]byte
	shared   sharing.Registry
	current  atomic.Pointer[Snapshot]

	// updating serialises updates, which may take as long as policies take to
	// start.
	updating sync.Mutex
	work     work
	// mu guards which snapshots use which chains, and which chains which instances.
	mu      sync.Mutex
	closing closings
	status  Status
	// together is what is counted of steps of all chains together, by policy version and mode. Those that are compiled
	// in bound it.
	together map[countedTogether]*telemetry.Step
	// inUse counts the instances of each version in the configuration in force; guarded by updating.
	inUse map[*Version]int
	// unstarted are warnings about the configuration in force that end.
	unstarted []unstarted
}

// Status is what is known of the configuration.
type Status struct {
	// Version and Loaded are those of the configuration in force; empty before
	// the first valid one.
	Version string
	Loaded  time.Time
	// Warnings are those of the configuration in force. A policy that has not
	// started is among them until it has.
	Warnings Problems
	// Rejected is the version that was refused after it, RejectedAt when, and
	// Err why; Err is nil where the newest one is in force.
	Rejected   string
	RejectedAt time.Time
	Err        error
	// Updates and Rejections count since the start.
	Updates, Rejections uint64
}

// New returns a worker without a configuration. Close it.
func New(registry *Registry, options Options) *Worker {
	if options.StartTimeout <= 0 {
		options.StartTimeout = defaultStartTimeout
	}
	if options.HoldLimit <= 0 {
		options.HoldLimit = defaultHoldLimit
	}
	clock := newClock(options)
	return &Worker{
		registry: registry,
		options:  options,
		clock:    clock,
		watchdog: newWatchdog(clock),
		identity: newIdentity(options.Host.Random),
	}
}

// Registry is the worker's registry.
func (w *Worker) Registry() *Registry { return w.registry }

// Acquire returns the configuration in force, or nil before the first valid one.
// It stays usable until it is released.
func (w *Worker) Acquire() *Snapshot {
	for {
		s := w.current.Load()
		if s == nil || s.acquire() {
			return s
		}
		// Replaced and let go between the two: there is a newer one.
	}
}

// Status returns what is known of the configuration.
func (w *Worker) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.status
	st.Warnings = warningsNow(st.Warnings, w.unstarted)
	return st
}

// Check reports what is wrong with a configuration and what is worth a warning,
// and changes nothing. It does no I/O.
func (w *Worker) Check(spec Spec) (warnings Problems, err error) {
	s, warnings, err := w.Preview(spec)
	if err != nil {
		return warnings, err
	}
	if inForce := w.Acquire(); inForce != nil {
		w.forget(s.chains, inForce)
		inForce.Release()
	} else {
		w.forget(s.chains, nil)
	}
	s.Release()
	return warnings, nil
}

// Preview is [Worker.Check] that also returns the snapshot that the configuration
// would become. Its policies have not been started, and it is not in force. Release
// it.
func (w *Worker) Preview(spec Spec) (s *Snapshot, warnings Problems, err error) {
	c := w.compile(spec)
	defer c.end()
	c.locate(spec.Positions)
	if err := c.err(); err != nil {
		c.discard()
		w.forget(c.snapshot.chains, c.before)
		return nil, c.warnings, err
	}
	c.snapshot.refs.Store(1)
	return c.snapshot, c.warnings, nil
}

// Try is [Worker.Check] that also starts the policies, all at once, and reports those
// that cannot start. Nothing comes into force: the instances are closed again.
func (w *Worker) Try(ctx context.Context, spec Spec) (warnings Problems, err error) {
	w.updating.Lock()
	defer w.updating.Unlock()
	c := w.compile(spec)
	defer c.end()
	if c.err() == nil {
		c.start(ctx, w.options.StartTimeout)
		for _, u := range c.unstarted {
			c.problem(u.warning.Path, strings.Replace(u.warning.Message, "has not started yet", "cannot start", 1), "")
		}
	}
	c.locate(spec.Positions)
	c.discard()
	return c.warnings, c.err()
}

// Update makes spec the configuration in force, once all of it is valid and its
// policies have been started. An error is [Problems], and nothing has changed then.
// A policy that cannot start is a warning, unless it is required.
func (w *Worker) Update(ctx context.Context, spec Spec) (warnings Problems, err error) {
	w.updating.Lock()
	defer w.updating.Unlock()
	c := w.compile(spec)
	defer c.end()
	if c.err() == nil {
		c.adopt()
		c.start(ctx, w.options.StartTimeout)
	}
	c.locate(spec.Positions)
	if err := c.err(); err != nil {
		c.discard()
		w.forget(c.snapshot.chains, c.before)
		w.Refuse(spec.Version, err)
		return c.warnings, err
	}
	warnings = warningsNow(c.warnings, c.unstarted)
	gone := c.dropped()
	w.swap(c)
	w.use(gone, -1)
	w.use(c.built, 1)
	w.forget(gone, c.snapshot)
	w.options.Host.Logger.Info("configuration in force", slog.String("version", spec.Version),
		slog.Int("chains", len(spec.Chains)), slog.Int("routes", len(spec.Routes)), slog.Int("warnings", len(warnings)))
	return warnings, nil
}

// Refuse records that a configuration was refused, for Status: one that did not come
// as far as Update, such as a file that is no YAML, or the same that Update has just
// refused, with a reason that says more. What is in force stays in force.
func (w *Worker) Refuse(version string, reason error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status.Err == nil || w.status.Rejected != version {
		w.status.Rejections++
	}
	w.status.Rejected, w.status.RejectedAt, w.status.Err = version, w.options.Host.Clock.Now(), reason
}

func (w *Worker) swap(c *compilation) {
	s := c.snapshot
	s.loaded = w.options.Host.Clock.Now()
	s.refs.Store(1)
	if c.before != nil {
		w.work.chainsDropped.Add(uint64(len(c.before.chains) - c.reused))
	}
	w.mu.Lock()
	w.status.Version, w.status.Loaded, w.status.Warnings = s.version, s.loaded, c.warnings
	w.unstarted = c.unstarted
	w.status.Rejected, w.status.RejectedAt, w.status.Err = "", time.Time{}, nil
	w.status.Updates++
	w.mu.Unlock()
	if old := w.current.Swap(s); old != nil {
		old.Release()
	}
}

// retire lets go of the chains of a snapshot that nothing uses any more. It is called on
// a stream's goroutine, so that what may take long is done elsewhere.
func (w *Worker) retire(s *Snapshot) {
	w.closing.Go(func() {
		for _, in := range w.drop(s.chains) {
			in.close()
		}
	})
}

// Close lets go of the configuration and ends the watchdog, once streams have
// ended. Instances that abandoned calls still use are closed when those return; it
// waits for the others until ctx ends.
func (w *Worker) Close(ctx context.Context) error {
	w.updating.Lock()
	defer w.updating.Unlock()
	if s := w.current.Swap(nil); s != nil {
		s.Release()
	}
	w.watchdog.close()
	select {
	case <-w.closing.wait():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing policies: %w", ctx.Err())
	}
}

func (w *Worker) hostFor(chain, id string, v *Version) policy.Host {
	if w.options.HostFor != nil {
		return w.options.HostFor(chain, id, v)
	}
	h := w.options.Host
	h.Logger = PolicyLogger(h.Logger, chain, id, v)
	return h
}
