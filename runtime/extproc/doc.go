// Package extproc speaks Envoy's external processing protocol (ext_proc) for chains
// of policies, about which it knows nothing.
//
// Envoy opens one gRPC stream for each HTTP request and sends the parts of request
// and response as they come. A [Service] finds the route's chain, runs its phases
// through a worker.Executor, and answers each message once and with its own kind;
// see [New]. Nothing is asked of Envoy that the chain does not need, and a stream is
// ended as soon as nothing more can come that matters.
//
// The rules that it follows are those of Envoy v1.36.2.
package extproc
