// Package kernel decides HTTP exchanges by chains of policies: which phases run, what is
// refused, and what the combined change to each part is. It depends neither on policies nor
// on the protocol of the proxy.
//
// This package and the carriers use these names for the parties of an exchange:
//
//   - The client sends the request and gets the response.
//   - The upstream gets the request and sends the response.
//   - The proxy is between them. It sends an exchange to the engine part by part and waits
//     for the decision about each. Envoy is one.
//   - The carrier takes the parts from the proxy to the kernel, and the kernel's decisions to
//     the proxy. Package extproc is one, for Envoy's external processing protocol; package
//     inmemory is another, for Go values.
//   - The kernel decides: see [Exchange].
//   - The executor runs the steps of the chain for one phase of the exchange. A worker
//     provides it (runtime/worker).
//   - A policy decides one step.
//
// They handle these things:
//
//   - An exchange is one HTTP request and its response: the two directions ([Direction]).
//   - A part is what the proxy sends at once: the headers, the body or a piece of it, or
//     the trailers of one direction.
//   - A phase is a point at which steps run. A part leads to no phase, to one, or to
//     several, such as headers without a body.
//   - A configuration is a [Snapshot]. An exchange keeps the one with which it began.
package kernel
