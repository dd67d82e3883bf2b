package extproc

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"policyengine.dev/runtime/extproc/negotiate"
)

// allowance is what a filter allows, and what follows from it.
type allowance struct {
	// stamp is what the filter carries; empty for what is declared.
	stamp    string
	settings negotiate.Settings
	// budget is what a message may take here, queueing and transport being
	// Envoy's part of the timeout.
	budget time.Duration
	// err is why the filter's stamp cannot be read. Nothing that it says can be
	// relied on then.
	err error
}

func newAllowance(stamp string, s negotiate.Settings, err error) *allowance {
	return &allowance{stamp: stamp, settings: s, budget: s.Timeout() / 10 * 9, err: err}
}

const (
	// maxStamps bounds how many stamps are remembered: a filter has one, a route
	// may have another, and a fleet may have several of each while it changes.
	maxStamps = 128
	// stampPause is how long nothing is logged of stamps after a line about one.
	stampPause = 10 * time.Second
)

// allowances has what the stamps say that have come. The zero value is empty. Safe
// for concurrent use; a stamp that is known is found without a lock.
type allowances struct {
	known atomic.Pointer[map[string]*allowance]
	mu    sync.Mutex // held to change known
	// warned is when a stamp was logged last, in nanoseconds by the kernel's clock, and
	// one more; 0 is never.
	warned atomic.Int64
}

// of returns what the stamp allows.
func (as *allowances) of(stamp string) *allowance {
	if known := as.known.Load(); known != nil {
		if a := (*known)[stamp]; a != nil {
			return a
		}
	}
	s, err := negotiate.ParseStamp(stamp)
	a := newAllowance(stamp, s, err)
	if len(stamp) <= negotiate.MaxStampLength {
		as.remember(stamp, a)
	}
	return a
}

func (as *allowances) remember(stamp string, a *allowance) {
	as.mu.Lock()
	defer as.mu.Unlock()
	now := map[string]*allowance{stamp: a}
	if old := as.known.Load(); old != nil && len(*old) < maxStamps {
		for s, a := range *old {
			now[s] = a
		}
	}
	as.known.Store(&now)
}

// warn logs that a stamp cannot be read, if that was not just done.
func (as *allowances) warn(to *slog.Logger, now time.Duration, err error) {
	last := as.warned.Load()
	if last != 0 && int64(now)-last < int64(stampPause) || !as.warned.CompareAndSwap(last, int64(now)+1) {
		return
	}
	to.Warn("a filter carries a stamp that cannot be read; it counts as one with Envoy's defaults", slog.Any("error", err))
}

// allowance returns what the stream's filter allows.
func (k *Service) allowance(st *stream) *allowance {
	stamp := st.metadata(negotiate.StampKey)
	if stamp == "" {
		return k.declared
	}
	a := k.stamps.of(stamp)
	if a.err != nil {
		k.stamps.warn(k.options.Logger, k.options.Elapsed(), a.err)
	}
	return a
}
