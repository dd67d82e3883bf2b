package exchange

import (
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// Place is where a policy stands in a chain, and what the runtime gives to each of its
// calls there. It is made when a configuration is loaded, and never modified.
type Place struct {
	// Chain and ID name the step. Policy and Version are what it runs.
	Chain, ID, Policy, Version string
	// Log takes what the policy logs about an exchange. nil drops it.
	Log slog.Handler
	// Now is the policies' time. nil stands for no time: spans last 0.
	Now func() time.Time
	// Random makes the ids of spans. It never fails. nil makes none.
	Random io.Reader
	// Scrub takes the policy's secrets out of a text. nil changes nothing.
	Scrub func(text string) string
}

// Call is what one call of a policy has beside the exchange: what a runtime tells the
// policy, and what the policy leaves behind beside its answer. A runtime sets the fields
// before a call and reads them after it. A policy uses it through the contexts of package
// policy.
//
// The zero value is a call without a place, of which nothing is recorded. A Call must
// not be copied.
type Call struct {
	// Place is where the policy stands, or nil.
	Place *Place
	// Phase is the phase's name, such as "request_headers".
	Phase string
	// Records says that somebody reads annotations and spans. Otherwise none are kept.
	Records bool
	// State is what the policy keeps for the exchange at this step, or nil. It stays with
	// whoever runs the step.
	State any

	notes atomic.Pointer[Notes]
}

// Notes returns where annotations and spans of the call go, or nil if nobody reads them.
// Safe for concurrent use during the call.
func (c *Call) Notes() *Notes {
	if c == nil || !c.Records {
		return nil
	}
	if n := c.notes.Load(); n != nil {
		return n
	}
	n := &Notes{place: c.Place}
	if c.notes.CompareAndSwap(nil, n) {
		return n
	}
	return c.notes.Load()
}

// Take returns what the call has noted, or nil if that is nothing, and begins again. What
// is still noted by way of the call's [Notes] is lost. It is for the runtime, after a call,
// or while one that was abandoned still runs.
func (c *Call) Take() *Noted {
	n := c.notes.Load()
	if n == nil {
		return nil
	}
	c.notes.Store(nil)
	return n.close()
}
