// Package policy is what an author of a policy imports, and all that a policy has
// to import.
//
// A policy version is a Go package with a parameter type, a constructor and an
// exported variable:
//
//	var Policy = policy.Define(New)
//
//	type Params struct {
//		Header policy.HeaderName `json:"header"`
//	}
//
//	func New(p Params, host policy.Host) (*Greeter, error)
//
// and beside it a policy.yaml that describes its parameters. What it does it says
// by implementing one or more phases, each an interface of one method:
//
//	func (g *Greeter) OnRequestHeaders(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error)
//
// One that with some parameters has nothing to do in a phase implements [PhaseChooser].
//
// # Life of an instance
//
// New checks the parameters and prepares whatever requests need; it does no I/O,
// so that a configuration can be checked anywhere. A policy that has to fetch
// something first implements [Starter]; one that keeps state over a change of its
// parameters implements [Adopter]; one that holds resources implements io.Closer,
// which is called once, when the last request that uses the instance has ended.
//
// One instance serves many requests at the same time: its methods have to be safe
// for concurrent use. A panic in a method is contained and counts as its error.
//
// # Contexts
//
// [RequestContext] and [ResponseContext] are views for reading. They are valid
// until the method returns and must not be kept; the strings and bytes read from
// them may be kept for ever, bytes must not be modified. A policy sees the message
// as earlier policies of the chain have left it.
//
// The context.Context is over when the method returns, and must not be kept either, nor
// one that context.WithValue or context.WithoutCancel has made of it. A goroutine that
// goes on afterwards gets a context of its own.
//
// # Actions and errors
//
// A method returns a nil action to let the message pass as it is, a mutation, or
// an [ImmediateResponse], which ends the chain. Actions are values: the runtime
// applies them, records them, or (in shadow mode) throws them away, and never
// modifies them, so that one prepared in New may be returned for every request.
//
// An error means that the policy could not decide. What then happens is the
// operator's choice (onError, by default the request is denied); the text of the
// error goes to the log and never to the client, and must not contain secrets. A nil
// [*ImmediateResponse] is an error too, since it may have been meant as a refusal; a nil
// mutation changes nothing.
package policy
