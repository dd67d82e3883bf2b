// Package policy is the API for policies. It is the only package that a policy must import.
//
// A policy version is a Go package with a parameter type, a constructor and an exported
// variable:
//
//	var Policy = policy.Define(New)
//
//	type Params struct {
//		Header policy.HeaderName `json:"header"`
//	}
//
//	func New(p Params, host policy.Host) (*Greeter, error)
//
// A policy.yaml beside it describes the parameters. The policy implements one or more
// phases. Each phase is an interface with one method:
//
//	func (g *Greeter) OnRequestHeaders(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error)
//
// A policy that has nothing to do in a phase with some parameters implements
// [PhaseChooser].
//
// # Life of an instance
//
// New checks the parameters and prepares everything that requests need. It must not do I/O,
// so that a configuration can be checked on any machine. A policy that must fetch something
// first implements [Starter]. A policy that keeps state when its parameters change
// implements [Adopter]. A policy that holds resources implements io.Closer; Close is called
// once, when the last request that uses the instance has ended.
//
// One instance serves many requests at the same time, so its methods must be safe for
// concurrent use. A panic in a method is recovered and counts as an error of the method.
//
// # Contexts
//
// [RequestContext] and [ResponseContext] are read-only views. They are valid until the
// method returns, and must not be kept. Strings and bytes that were read from them may be
// kept; bytes must not be modified. A policy sees the message with the changes of earlier
// policies of the chain.
//
// The context.Context is canceled when the method returns, and must not be kept either.
// This includes contexts that are derived from it with context.WithValue or
// context.WithoutCancel. A goroutine that continues after the method needs its own context.
//
// # Actions and errors
//
// A method returns nil to pass the message unchanged, a mutation to change it, or an
// [ImmediateResponse] to answer the client and end the chain. Actions are values. The
// runtime applies them, records them, or discards them in shadow mode, and never modifies
// them. So an action that was created in New may be returned for every request.
//
// An error means that the policy could not decide. The operator chooses what happens then
// (onError); by default the request is denied. The text of the error is logged and never
// sent to the client. It must not contain secrets. A nil [*ImmediateResponse] is an error,
// because it may have been meant as a refusal. A nil mutation changes nothing.
package policy
