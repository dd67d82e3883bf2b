package negotiate

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"policyengine.dev/runtime/kernel"
)

// Allowance is what a filter allows, and what follows from it. It is immutable.
type Allowance struct {
	// Stamp is what the filter carries; empty for what is declared to the engine.
	Stamp    string
	Settings Settings
	// Terms are what the kernel needs to know of the filter.
	Terms kernel.Terms
	// Err is why the filter's stamp cannot be read. The settings are Envoy's defaults
	// then.
	Err error
	// declared says that the settings were declared to the engine.
	declared bool
	// expressions count for what is declared only: a stamp has no room for them.
	expressions Expressions
}

// Declared returns what is declared to the engine of filters without a stamp.
func Declared(s Settings, e Expressions) *Allowance {
	a := newAllowance("", s, nil)
	a.declared, a.expressions = true, e
	return a
}

func newAllowance(stamp string, s Settings, err error) *Allowance {
	a := &Allowance{Stamp: stamp, Settings: s, Err: err}
	size := kernel.Size{Count: s.HeaderLimit(), Bytes: s.HeaderBytes()}
	a.Terms = kernel.Terms{
		// Queueing and transport have the rest of the filter's timeout.
		Budget:         s.Timeout() / 10 * 9,
		RequestHeaders: size,
		// What holds for a response is the upstream's cluster's, of which nothing is
		// known: a connection manager that takes less of a client says nothing of it.
		ResponseHeaders: kernel.Size{Count: max(size.Count, DefaultMaxHeaders), Bytes: max(size.Bytes, DefaultMaxHeadersKB<<10)},
		Rules:           a,
	}
	return a
}

// MayChange implements kernel.Rules by the filter's mutation rules.
func (a *Allowance) MayChange(name string) bool {
	if allowed, decided := a.expressions.Decide(name); decided {
		return allowed
	}
	s := &a.Settings
	switch name {
	case ":method", ":authority":
		return s.Routing && !s.NoSystem && !s.NoHeaders
	case ":path", ":status":
		return !s.NoSystem && !s.NoHeaders
	}
	return !s.NoHeaders
}

// told is who says what the filter allows, for the text of a cause.
func (a *Allowance) told() string {
	if a.declared {
		return "engine.yaml"
	}
	return "its stamp"
}

const (
	// maxStamps bounds how many stamps are remembered: a filter has one, a route
	// may have another, and a fleet may have several of each while it changes.
	maxStamps = 128
	// stampPause is how long nothing is logged of stamps after a line about one.
	stampPause = 10 * time.Second
)

// Allowances remembers what the stamps say that have arrived. The zero value is empty. Safe
// for concurrent use; a stamp that is known is found without a lock.
type Allowances struct {
	known atomic.Pointer[map[string]*Allowance]
	mu    sync.Mutex // held to change known
	// warned is when a stamp was logged last, in nanoseconds by the engine's clock, and
	// one more; 0 is never.
	warned atomic.Int64
}

// Of returns what a stamp allows.
func (as *Allowances) Of(stamp string) *Allowance {
	if known := as.known.Load(); known != nil {
		if a := (*known)[stamp]; a != nil {
			return a
		}
	}
	s, err := ParseStamp(stamp)
	a := newAllowance(stamp, s, err)
	if len(stamp) <= MaxStampLength {
		as.remember(stamp, a)
	}
	return a
}

func (as *Allowances) remember(stamp string, a *Allowance) {
	as.mu.Lock()
	defer as.mu.Unlock()
	now := map[string]*Allowance{stamp: a}
	if old := as.known.Load(); old != nil && len(*old) < maxStamps {
		for s, a := range *old {
			now[s] = a
		}
	}
	as.known.Store(&now)
}

// Warn logs that a stamp cannot be read, unless a line about one was logged within the last
// ten seconds. now is the time by the engine's clock.
func (as *Allowances) Warn(to *slog.Logger, now time.Duration, err error) {
	last := as.warned.Load()
	if last != 0 && int64(now)-last < int64(stampPause) || !as.warned.CompareAndSwap(last, int64(now)+1) {
		return
	}
	to.Warn("a filter carries a stamp that cannot be read; it counts as one with Envoy's defaults", slog.Any("error", err))
}
