// Package kernel decides HTTP exchanges by chains of policies: which phases run, what is
// refused, and what the net change to each part is. It knows neither the policies nor the
// protocol that brings an exchange.
//
// These are the parties of an exchange, and the only names for them in this package and in
// the carriers:
//
//   - The client sends the request and gets the response.
//   - The upstream gets the request and sends the response.
//   - The proxy stands between them. It shows an exchange to the engine part by part and
//     waits for what becomes of each. Envoy is one.
//   - The carrier brings the parts that the proxy shows to the kernel, and takes to the
//     proxy what the kernel decided. Package extproc is one, for Envoy's external
//     processing protocol; package inmemory is another, for Go values.
//   - The kernel decides: see [Exchange].
//   - The executor runs the steps of the chain for one phase of the exchange. A worker
//     provides it (runtime/worker).
//   - A policy decides one step.
//
// And these are the things that they handle:
//
//   - An exchange is one HTTP request and its response: the two directions ([Direction]).
//   - A part is what the proxy shows at once: the headers, the body or a piece of it, or
//     the trailers of one direction.
//   - A phase is a point at which steps run. A part leads to no phase, to one, or to
//     several, such as headers without a body.
//   - A configuration is a [Snapshot]. An exchange keeps the one with which it began.
package kernel
