// Package extproc implements Envoy's external processing protocol (ext_proc) for chains of
// policies. It does not depend on any policy.
//
// Envoy opens one gRPC stream for each HTTP request and sends the parts of request and
// response as they arrive. A [Service] finds the route's chain, runs its phases through a
// worker.Executor, and answers each message once with a reply of the same kind; see [New].
// It requests from Envoy only the parts that the chain uses, and ends the stream as soon as
// the chain needs no further part.
//
// It follows the rules of Envoy v1.36.2, which docs/ext_proc.md lists.
package extproc
