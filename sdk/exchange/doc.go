// Package exchange holds one HTTP request and its response while a chain of policies reads
// and changes them.
//
// It has the data of the contexts of package policy. A runtime fills it from the proxy's
// messages, applies the action of each policy to it, and reads the combined changes from
// it. Policies do not use this package; they use the views of package policy.
//
// An [Exchange] belongs to one stream and is not safe for concurrent use. All its strings
// are immutable and may be kept.
package exchange
