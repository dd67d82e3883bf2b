package policy

import "fmt"

// State returns what the policy keeps for this exchange at this step of the chain: a *T,
// which the policy may change, and which a later call finds again, also in another phase. The
// first call for an exchange makes a zero T. See [LookupState] for a phase that has nothing
// to do where no earlier one has kept anything.
//
// No other policy sees it, nor does another step with the same policy. It lives until the
// exchange is over, and then belongs to nobody: what has to be given back, such as a place
// in a limiter, must not depend on a later phase, which may never come. It counts in no limit, so
// that the policy bounds what it keeps. A policy that keeps nothing pays nothing; otherwise
// an exchange costs one allocation for each step.
//
// If a call does not come back in time, its state is lost, since the call may still be
// writing to it: later phases find none. A policy keeps one type at a time; asking for
// another one is a panic, and so an error of the policy. Not safe for concurrent use.
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

// LookupState returns what [State] has made in an earlier phase, or earlier in this one, and
// whether there is anything. There is nothing if the earlier phase did not run, such as for
// a response to a request that the policy was not shown.
func LookupState[T any](v View) (*T, bool) {
	call := v.view().call
	if call == nil || call.State == nil {
		return nil, false
	}
	s, ok := call.State.(*T)
	if !ok {
		panic(fmt.Sprintf("policy.State: the policy keeps a %T for this exchange, and asks for a %T", call.State, s))
	}
	return s, true
}
