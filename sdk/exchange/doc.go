// Package exchange holds one HTTP request and its response while a chain of
// policies looks at them and changes them.
//
// It is the data behind the contexts of package policy: a runtime fills it from
// the proxy's messages, applies each policy's action to it, and reads from it
// what has changed altogether. A policy never sees this package; it sees the
// read views of package policy.
//
// An [Exchange] belongs to one stream and is not safe for concurrent use. All
// strings in it are immutable and may be kept for ever.
package exchange
