package policy

import "errors"

// Shared holds resources that several instances of policies share. Use it through [Share].
// Safe for concurrent use.
type Shared interface {
	// Acquire returns the resource with the key, and calls create if there is none. The
	// holder keeps it until its runtime closes the instance.
	Acquire(key any, create func(Host) (any, error)) (any, error)
}

var errNotShared = errors.New("the host has no Shared")

// Share returns the resource of type T that all instances of a policy version with the same
// key share: a key set, a cache, a connection pool, a limiter. Call it in New. The resource
// lives until the last instance that requested it is closed, so it survives reloads. If it
// is an io.Closer, it is closed then, after those instances.
//
// The key must contain everything that create depends on, and nothing else: two instances
// with different parameters must not share a resource by accident. It is kept in memory
// only, so it may contain a secret. Keys of different types T are different, and so are
// keys of different policy versions.
//
// create is called if the resource does not exist, and never concurrently for one key. Like
// New, it prepares and must not do I/O: start the resource in the policy's Start, and
// expect several callers there. If create fails, Share returns its error and keeps nothing.
// create gets the Host of the resource: its Logger and Metrics have the policy and version,
// but no chain or id, and what it shares itself is released when the resource is closed.
// Resources of one policy version share metrics with the same name and labels, which are
// exposed as long as the version is in use. create must not call Share with its own key.
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
