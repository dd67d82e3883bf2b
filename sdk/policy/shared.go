package policy

import "errors"

// Shared holds what several instances of policies have in common. Use it through
// [Share]. Safe for concurrent use.
type Shared interface {
	// Acquire returns the resource of the key, which create makes where there is
	// none. The holder keeps it until its runtime closes the instance.
	Acquire(key any, create func(Host) (any, error)) (any, error)
}

var errNotShared = errors.New("the host has no Shared")

// Share returns the resource of type T that all instances of a policy version share which
// ask for the same key: a key set, a cache, a pool of connections, a limiter. Call it in New. The
// resource lives until the last instance that has asked for it is closed, and so it
// survives reloads. Where it is an io.Closer it is closed then, after those instances.
//
// The key has to hold everything that create depends on, and nothing else: two
// instances with different parameters must not get the same resource by accident. It is
// kept in memory only, so that it may hold a secret. Keys of different types T are
// different, and those of different policy versions.
//
// create is called where there is no such resource, at most once at a time for a key. As
// New does, it prepares and does no I/O: let Start of the policy start the resource, and
// have the resource cope with several callers. An error of create is Share's, and nothing
// is kept. create gets a Host of the resource's own: its Logger and Metrics are those of
// the policy without a chain or an id, and what it shares itself is released when the
// resource is closed. Resources of one policy version that make a metric of the same name
// and labels have it in common, and it is exposed for as long as the version is in use.
// create must not ask for its own key.
func Share[T any](host Host, key string, create func(Host) (T, error)) (T, error) {
	var none T
	if host.Shared == nil {
		return none, errNotShared
	}
	v, err := host.Shared.Acquire(sharedKey[T]{key}, func(h Host) (any, error) { return create(h) })
	if err != nil {
		return none, err
	}
	return v.(T), nil
}

// sharedKey is a key of one type of resources.
type sharedKey[T any] struct{ key string }
