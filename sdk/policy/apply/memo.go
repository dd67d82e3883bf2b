package apply

import (
	"sync/atomic"
	"unsafe"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// Memo spares a runtime the check of an action that one step answers again and again,
// which is what policies do that prepare their action in New. It keeps one action for
// each phase, of requests those before [policy.ResponseHeaders]. An action is never modified once it has been answered, so that it need be
// checked only once.
//
// The zero value is ready. Safe for concurrent use.
type Memo struct {
	requests  [policy.ResponseHeaders]seen[policy.RequestMutation]
	responses [policy.PhaseCount - policy.ResponseHeaders]seen[policy.ResponseMutation]
}

// seen remembers an action that was good. It does so only when the same one comes twice
// in a row: what a policy makes again for each request is not to be kept alive.
type seen[M any] struct {
	good atomic.Pointer[M]
	// last is the address of the action before. It may have been reclaimed, and
	// another be at its place; that one is then checked as any other.
	last atomic.Uintptr
}

func (s *seen[M]) knows(m *M) bool { return s.good.Load() == m }

// remember is told of an action that was good.
func (s *seen[M]) remember(m *M) {
	if s.good.Load() != nil {
		return
	}
	if at := uintptr(unsafe.Pointer(m)); s.last.Load() != at {
		s.last.Store(at)
		return
	}
	s.good.Store(m)
}

// Request is [Request].
func (c *Memo) Request(x *exchange.Exchange, phase policy.Phase, m *policy.RequestMutation) error {
	if m == nil {
		return nil
	}
	s := &c.requests[phase]
	if s.knows(m) {
		return request(x, m)
	}
	if err := Request(x, phase, m); err != nil {
		return err
	}
	s.remember(m)
	return nil
}

// Response is [Response].
func (c *Memo) Response(x *exchange.Exchange, phase policy.Phase, m *policy.ResponseMutation) error {
	if m == nil {
		return nil
	}
	s := &c.responses[phase-policy.ResponseHeaders]
	if s.knows(m) {
		response(x, m)
		return nil
	}
	if err := Response(x, phase, m); err != nil {
		return err
	}
	s.remember(m)
	return nil
}
