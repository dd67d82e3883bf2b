package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/sharing"
)

// MaxAbandoned is how many calls of one instance may hang at a time. Beyond it the
// instance is stalled, and its steps err at once: each call that hangs holds a
// goroutine and a request's memory.
const MaxAbandoned = 16

// identity says which instance follows which over a reload: it is the place in a
// chain, not the parameters.
type identity struct{ chain, id string }

// instance is one policy made from one set of parameters. It lives as long as a
// chain uses it.
type instance struct {
	identity
	version *Version
	params  string // normalised JSON
	clock   policy.Clock
	logger  *slog.Logger
	scrub   *scrubber
	// scope is what the instance shares with others.
	scope *sharing.Scope
	value any
	// phases are those in which the instance acts with its parameters.
	phases policy.PhaseSet
	// owned are the request headers that the instance owns.
	owned []string
	// reads are the proxy's attributes that the instance reads.
	reads definition.Attributes

	// What value implements, found once.
	requestHeaders   policy.RequestHeadersPolicy
	requestBody      policy.RequestBodyPolicy
	requestChunks    policy.RequestBodyChunksPolicy
	requestTrailers  policy.RequestTrailersPolicy
	responseHeaders  policy.ResponseHeadersPolicy
	responseBody     policy.ResponseBodyPolicy
	responseChunks   policy.ResponseBodyChunksPolicy
	responseTrailers policy.ResponseTrailersPolicy
	holdsChunks      bool
	// readsChunks says that the policy neither replaces chunks nor holds them back.
	readsChunks bool
	// skips says that the policy may skip steps behind it.
	skips bool

	// chains counts those that have the instance, one in the making included;
	// guarded by Worker.mu.
	chains int

	// state is what available looks at; it says fine nearly always.
	state     atomic.Uint32
	abandoned atomic.Int64
	// startErr is why the instance has not started.
	startErr atomic.Pointer[error]
	// stop ends the retries of Start; stopped is closed when they have ended. again
	// asks for one at once, whose result is sent to what was sent.
	stop    context.CancelFunc
	stopped chan struct{}
	again   chan chan<- error
	// starting gives the result of a Start that has not come back. It belongs to
	// whoever tries to start the instance.
	starting chan error
}

const (
	instanceStarting = 1 << iota
	instanceStalled
)

func newInstance(key identity, v *Version, params string, value any, host policy.Host) *instance {
	in := &instance{identity: key, version: v, params: params, value: value, clock: host.Clock, logger: host.Logger, phases: policy.ActivePhases(value)}
	in.reads = v.Definition.Reads(value)
	in.requestHeaders, _ = value.(policy.RequestHeadersPolicy)
	in.requestBody, _ = value.(policy.RequestBodyPolicy)
	in.requestChunks, _ = value.(policy.RequestBodyChunksPolicy)
	in.requestTrailers, _ = value.(policy.RequestTrailersPolicy)
	in.responseHeaders, _ = value.(policy.ResponseHeadersPolicy)
	in.responseBody, _ = value.(policy.ResponseBodyPolicy)
	in.responseChunks, _ = value.(policy.ResponseBodyChunksPolicy)
	in.responseTrailers, _ = value.(policy.ResponseTrailersPolicy)
	if h, ok := value.(policy.ChunkHolder); ok {
		in.holdsChunks = h.HoldsChunks()
	}
	if r, ok := value.(policy.ChunkReader); ok {
		in.readsChunks = r.ReadsChunks()
	}
	if s, ok := value.(policy.Skipper); ok {
		in.skips = s.SkipsSteps()
	}
	if _, ok := value.(policy.Starter); ok {
		in.state.Store(instanceStarting)
	}
	return in
}

var (
	errStalled    = errors.New("too many calls of the policy have not returned")
	errNotStarted = errors.New("the policy has not started yet")
)

// available says whether the instance may be called; if not, why.
func (in *instance) available() (FailureKind, error) {
	state := in.state.Load()
	switch {
	case state == 0:
		return 0, nil
	case state&instanceStalled != 0:
		return Stalled, errStalled
	}
	if err := in.startErr.Load(); err != nil {
		return NotStarted, fmt.Errorf("%w: %w", errNotStarted, *err)
	}
	return NotStarted, errNotStarted
}

// startError is why the last attempt to start failed, or nil.
func (in *instance) startError() error {
	if err := in.startErr.Load(); err != nil && !in.ready() {
		return *err
	}
	return nil
}

func (in *instance) ready() bool { return in.state.Load()&instanceStarting == 0 }

// abandon counts a call that did not come back in time.
func (in *instance) abandon(m *telemetry.Step) {
	m.Abandoned.Add(1)
	if in.abandoned.Add(1) >= MaxAbandoned {
		in.state.Or(instanceStalled)
	}
}

// cameBack is called when such a call has returned after all, and was counted.
func (in *instance) cameBack(s *Snapshot, m *telemetry.Step) {
	m.Abandoned.Add(-1)
	if in.abandoned.Add(-1) < MaxAbandoned {
		in.state.And(^uint32(instanceStalled))
	}
	s.Release()
}

// Pauses between attempts to start an instance.
const (
	startPause    = time.Second
	maxStartPause = time.Minute
)

// start runs the policy's Start once, within timeout; where it fails, it is tried
// again in the background until it succeeds or the instance is closed.
func (in *instance) start(ctx context.Context, timeout time.Duration) error {
	starter, ok := in.value.(policy.Starter)
	if !ok || in.ready() {
		return nil
	}
	err := in.tryStart(ctx, starter, timeout)
	if err == nil {
		return nil
	}
	retry, stop := context.WithCancel(context.WithoutCancel(ctx))
	in.stop, in.stopped, in.again = stop, make(chan struct{}), make(chan chan<- error)
	go in.keepStarting(retry, starter, timeout)
	return err
}

// startAgain has a Start that failed tried again at once, and waits for it for at most
// timeout. It is for instances of which the first attempt is over.
func (in *instance) startAgain(ctx context.Context, timeout time.Duration) error {
	timer := in.clock.NewTimer(timeout + startGrace)
	defer timer.Stop()
	result := make(chan error, 1)
	select {
	case in.again <- result:
	case <-in.stopped:
		return in.startError()
	case <-timer.C():
		return in.startError()
	case <-ctx.Done():
		return in.startError()
	}
	select {
	case err := <-result:
		return err
	case <-timer.C():
		return in.startError()
	case <-ctx.Done():
		return in.startError()
	}
}

// startGrace is how long a Start may take to come back once its context has ended.
const startGrace = time.Second

var errStartHangs = errors.New("Start has not returned, although its context has ended")

// tryStart runs Start on a goroutine of its own: a policy that does not heed its
// context must not hold up every later configuration.
func (in *instance) tryStart(ctx context.Context, starter policy.Starter, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		err := errors.New("Start called runtime.Goexit")
		defer func() { result <- err }()
		err = contained(func() error { return starter.Start(ctx) })
	}()
	select {
	case err := <-result:
		return in.startEnded(err)
	case <-ctx.Done():
	}
	timer := in.clock.NewTimer(startGrace)
	defer timer.Stop()
	select {
	case err := <-result:
		return in.startEnded(err)
	case <-timer.C():
		in.starting = result
		return in.startEnded(errStartHangs)
	}
}

// startEnded notes what has become of an attempt to start.
func (in *instance) startEnded(err error) error {
	if err != nil {
		err = in.scrub.error(err)
		in.startErr.Store(&err)
		return err
	}
	in.state.And(^uint32(instanceStarting))
	return nil
}

// keepStarting tries again until the instance has started or is closed. Start is never
// called twice at a time.
func (in *instance) keepStarting(ctx context.Context, starter policy.Starter, timeout time.Duration) {
	defer close(in.stopped)
	for pause := startPause; ; pause = min(2*pause, maxStartPause) {
		if in.starting != nil {
			err := in.startEnded(<-in.starting)
			in.starting = nil
			if err == nil {
				in.logger.Info("policy has started")
				return
			}
		}
		timer := in.clock.NewTimer(pause)
		var result chan<- error
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case result = <-in.again:
			timer.Stop()
		case <-timer.C():
		}
		err := in.tryStart(ctx, starter, timeout)
		if result != nil {
			result <- err
		}
		if err == nil {
			in.logger.Info("policy has started")
			return
		}
		if ctx.Err() == nil {
			in.logger.Warn("policy has not started yet; its requests are treated as its errors", slog.Any("error", err))
		}
	}
}

// adopt lets the instance take over what its predecessor knows.
func (in *instance) adopt(old *instance) error {
	a, ok := in.value.(policy.Adopter)
	if !ok {
		return nil
	}
	return in.scrub.error(contained(func() error { a.Adopt(old.value); return nil }))
}

// close ends the instance. It is called once, when nothing uses it any more.
func (in *instance) close() {
	if in.stop != nil {
		in.stop()
		<-in.stopped
	}
	if c, ok := in.value.(io.Closer); ok {
		if err := contained(c.Close); err != nil {
			in.logger.Warn("closing a policy", slog.Any("error", err))
		}
	}
	if err := in.scope.Close(); err != nil {
		in.logger.Warn("closing what a policy shared", slog.Any("error", err))
	}
}

// contained turns a panic of f into its error.
func contained(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = newPanicError(v)
		}
	}()
	return f()
}
