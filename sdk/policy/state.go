package policy

import "fmt"

// State returns the state of the policy for this exchange at this step of the chain: a *T,
// which the policy may modify and which later calls, also in other phases, get again. The
// first call for an exchange creates a zero T. Use [LookupState] in a phase that has
// nothing to do if no earlier phase stored anything.
//
// No other policy sees it, nor does another step with the same policy. It lives until the
// exchange is over. Do not rely on a later phase to release something, such as a place in a
// limiter, because that phase may never run. The engine does not limit what a policy keeps,
// so limit it yourself. A policy without state costs nothing; with state, an exchange costs
// one allocation for each step.
//
// If a call exceeds its deadline, its state is lost, because the call may still write to
// it; later phases find none. A step has state of one type only; requesting another type
// panics, which is an error of the policy. Not safe for concurrent use.
func State[T any](v View) *T {
	if s, ok := LookupState[T](v); ok {
		return s
	}
	s := new(T)
	if call := v.view().call; call != nil {
		call.State = s
	}
	return s
}

// LookupState returns the state that an earlier call of [State] created for this exchange
// and step, and whether there is any. There is none if the earlier phase did not run, for
// example in a response phase if the policy did not see the request.
func LookupState[T any](v View) (*T, bool) {
	call := v.view().call
	if call == nil || call.State == nil {
		return nil, false
	}
	s, ok := call.State.(*T)
	if !ok {
		panic(fmt.Sprintf("policy.State: the policy has a %T for this exchange, and requested a %T", call.State, s))
	}
	return s, true
}
