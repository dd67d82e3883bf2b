// Package sharing keeps the resources that instances of policies share. It is for
// runtimes and for policytest; policies use policy.Share.
package sharing

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"policyengine.dev/sdk/policy"
)

// Registry holds resources by key, each for as long as somebody uses it. The zero value
// is empty. Safe for concurrent use.
type Registry struct {
	mu        sync.Mutex
	resources map[any]*resource
}

// resource is one thing that is shared.
type resource struct {
	key   any
	users int // guarded by Registry.mu
	// made is closed when value and err are known.
	made  chan struct{}
	value any
	err   error
	// own is what the resource shares itself.
	own *Scope
}

// Len is how many resources there are.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.resources)
}

// Scope is what one instance uses of a registry. It is a policy.Shared. Close it once,
// after the instance. Safe for concurrent use.
type Scope struct {
	registry *Registry
	of       any
	host     func() policy.Host

	mu     sync.Mutex
	used   []*resource
	closed bool
}

// Scope returns a scope without any resource. It shares with scopes of the same policy
// version, which of stands for; of has to be comparable. Resources that are made in it
// get what host returns, with their own Shared.
func (r *Registry) Scope(of any, host func() policy.Host) *Scope {
	return &Scope{registry: r, of: of, host: host}
}

// versionKey is a key of one policy version.
type versionKey struct{ of, key any }

var (
	errClosed  = errors.New("asking for a shared resource: the instance is closed")
	errGoexit  = errors.New("making a shared resource: the constructor has ended its goroutine")
	errPanicky = errors.New("making a shared resource: the constructor panicked")
)

// Acquire implements policy.Shared. An instance that asks for a key twice uses it once.
func (s *Scope) Acquire(key any, create func(policy.Host) (any, error)) (any, error) {
	res, mine := s.registry.join(versionKey{s.of, key})
	if mine {
		s.make(res, create)
	} else {
		<-res.made
	}
	if res.err != nil {
		return nil, res.err // make has taken it out
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		defer s.registry.leave(res)
		return nil, errClosed
	case slices.Contains(s.used, res):
		defer s.registry.leave(res)
	default:
		s.used = append(s.used, res)
	}
	return res.value, nil
}

// Close gives back what the instance has used. What nobody uses any more is closed
// before Close returns; the error is what went wrong with that.
func (s *Scope) Close() error {
	s.mu.Lock()
	used := s.used
	s.used, s.closed = nil, true
	s.mu.Unlock()
	var errs []error
	for _, res := range slices.Backward(used) {
		errs = append(errs, s.registry.leave(res))
	}
	return errors.Join(errs...)
}

// join adds a user to the resource of the key. mine says that it is new, and that the
// caller has to make it.
func (r *Registry) join(key any) (res *resource, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	res, there := r.resources[key]
	if !there {
		res = &resource{key: key, made: make(chan struct{})}
		if r.resources == nil {
			r.resources = map[any]*resource{}
		}
		r.resources[key] = res
	}
	res.users++
	return res, !there
}

// make makes a resource. Where that fails it is taken out, so that the next one who asks
// tries again; whoever waits meanwhile gets the error.
func (s *Scope) make(res *resource, create func(policy.Host) (any, error)) {
	r := s.registry
	res.own = r.Scope(s.of, s.host)
	res.err = errGoexit
	defer func() {
		if v := recover(); v != nil {
			res.err = fmt.Errorf("%w: %v", errPanicky, v)
		}
		if res.err != nil {
			r.mu.Lock()
			delete(r.resources, res.key)
			r.mu.Unlock()
			if err := res.own.Close(); err != nil {
				res.err = errors.Join(res.err, err)
			}
		}
		close(res.made)
	}()
	own := s.host()
	own.Shared = res.own
	res.value, res.err = create(own)
}

// leave takes a user away, and closes the resource after its last one.
func (r *Registry) leave(res *resource) error {
	r.mu.Lock()
	res.users--
	last := res.users == 0
	if last {
		delete(r.resources, res.key)
	}
	r.mu.Unlock()
	if !last {
		return nil
	}
	return errors.Join(res.close(), res.own.Close())
}

func (res *resource) close() (err error) {
	c, ok := res.value.(io.Closer)
	if !ok {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("closing a shared resource panicked: %v", v)
		}
	}()
	if err := c.Close(); err != nil {
		return fmt.Errorf("closing a shared resource: %w", err)
	}
	return nil
}

var _ policy.Shared = (*Scope)(nil)
