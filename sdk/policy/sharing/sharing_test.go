package sharing_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/sharing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cache is a resource that counts how often it is closed.
type cache struct {
	closed atomic.Int64
	err    error
	before func()
}

func (c *cache) Close() error {
	if c.before != nil {
		c.before()
	}
	c.closed.Add(1)
	return c.err
}

// instance is what one instance of a policy has.
type instance struct {
	policy.Host
	*sharing.Scope
}

func use(r *sharing.Registry) instance { return useOf(r, "v1") }

func useOf(r *sharing.Registry, version string) instance {
	scope := r.Scope(version, func() policy.Host { return policy.Host{} })
	return instance{policy.Host{Shared: scope}, scope}
}

func newCache(policy.Host) (*cache, error) { return &cache{}, nil }

func share(t *testing.T, in instance, key string) *cache {
	t.Helper()
	c, err := policy.Share(in.Host, key, newCache)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOneResourceForAKey proves that the same key gives the same resource, another key or
// another type another one, and that it is closed once, with its last user.
func TestOneResourceForAKey(t *testing.T) {
	var r sharing.Registry
	a, b := use(&r), use(&r)
	first := share(t, a, "k")
	if share(t, b, "k") != first || share(t, a, "k") != first {
		t.Error("one key has two resources")
	}
	other := share(t, b, "other")
	if other == first {
		t.Error("two keys have one resource")
	}
	v2 := useOf(&r, "v2")
	if share(t, v2, "k") == first {
		t.Error("two versions of a policy share")
	}
	if err := v2.Close(); err != nil || first.closed.Load() != 0 {
		t.Errorf("the other version has gone: %v, closed %d times", err, first.closed.Load())
	}
	if n, err := policy.Share(a.Host, "k", func(policy.Host) (int, error) { return 7, nil }); err != nil || n != 7 {
		t.Errorf("a resource of another type with the same key: %v, %v", n, err)
	}
	if err := a.Close(); err != nil || first.closed.Load() != 0 {
		t.Errorf("the first user has gone: %v, closed %d times", err, first.closed.Load())
	}
	if share(t, b, "k") != first {
		t.Error("the resource was made again while it was in use")
	}
	if err := b.Close(); err != nil || first.closed.Load() != 1 || other.closed.Load() != 1 || r.Len() != 0 {
		t.Errorf("the last user has gone: %v, closed %d and %d times, %d left", err, first.closed.Load(), other.closed.Load(), r.Len())
	}
	c := use(&r)
	if share(t, c, "k") == first {
		t.Error("a closed resource is handed out")
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	if _, err := policy.Share(c.Host, "k", newCache); err == nil || r.Len() != 0 {
		t.Errorf("an instance that is closed gets a resource: %v, %d left", err, r.Len())
	}
	if _, err := policy.Share(policy.Host{}, "k", newCache); err == nil {
		t.Error("a host without Shared shares")
	}
}

// TestConstructorsThatFail proves that nothing is kept of a constructor that fails in
// whichever way, and that the next one who asks tries again.
func TestConstructorsThatFail(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		create func(policy.Host) (*cache, error)
		want   string
	}{
		"an error":  {func(policy.Host) (*cache, error) { return &cache{}, broken }, "broken"},
		"a panic":   {func(policy.Host) (*cache, error) { panic("boom") }, "boom"},
		"an exit":   {func(policy.Host) (*cache, error) { runtime.Goexit(); return nil, nil }, ""},
		"after one": {func(h policy.Host) (*cache, error) { _, _ = policy.Share(h, "inner", newCache); return nil, broken }, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			var r sharing.Registry
			in := use(&r)
			done := make(chan error, 1)
			go func() {
				err := errors.New("")
				defer func() { done <- err }()
				_, err = policy.Share(in.Host, "k", tc.create)
			}()
			if err := <-done; err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v", err)
			}
			if r.Len() != 0 {
				t.Errorf("%d resources are left", r.Len())
			}
			share(t, in, "k")
			if err := in.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestResourcesOfResources proves that a resource's own resources live as long as it does.
func TestResourcesOfResources(t *testing.T) {
	var r sharing.Registry
	var inner *cache
	a, b := use(&r), use(&r)
	outer, err := policy.Share(a.Host, "outer", func(h policy.Host) (*cache, error) {
		inner, _ = policy.Share(h, "inner", newCache)
		return &cache{before: func() {
			if inner.closed.Load() != 0 {
				t.Error("the inner resource was closed before the outer one")
			}
		}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if share(t, b, "outer") != outer {
		t.Error("not shared")
	}
	_ = a.Close()
	if inner.closed.Load() != 0 {
		t.Error("the inner resource went with the instance that made the outer one")
	}
	_ = b.Close()
	if inner.closed.Load() != 1 || r.Len() != 0 {
		t.Errorf("the inner resource was closed %d times, %d are left", inner.closed.Load(), r.Len())
	}
}

// TestErrorsOfClose proves that an error or panic of Close is told, and keeps no other
// resource from being closed.
func TestErrorsOfClose(t *testing.T) {
	var r sharing.Registry
	in := use(&r)
	last := share(t, in, "last")
	for key, c := range map[string]*cache{"errs": {err: errors.New("stuck")}, "panics": {before: func() { panic("boom") }}} {
		if _, err := policy.Share(in.Host, key, func(policy.Host) (*cache, error) { return c, nil }); err != nil {
			t.Fatal(err)
		}
	}
	err := in.Close()
	if err == nil || !strings.Contains(err.Error(), "stuck") || !strings.Contains(err.Error(), "boom") || last.closed.Load() != 1 {
		t.Errorf("got %v, and the other was closed %d times", err, last.closed.Load())
	}
}

// TestSharingUnderLoad proves, with the race detector, that concurrent users of a few keys
// never see a closed resource, nor two of one key at a time.
func TestSharingUnderLoad(t *testing.T) {
	var r sharing.Registry
	const keys, users, rounds = 3, 8, 300
	var alive [keys]atomic.Int64
	var all sync.WaitGroup
	for u := range users {
		all.Go(func() {
			for i := range rounds {
				k := (u + i) % keys
				in := use(&r)
				c, err := policy.Share(in.Host, fmt.Sprint(k), func(policy.Host) (*cache, error) {
					if i%7 == 0 {
						return nil, errors.New("now and then")
					}
					alive[k].Add(1)
					return &cache{before: func() { alive[k].Add(-1) }}, nil
				})
				if err == nil {
					if c.closed.Load() != 0 {
						t.Error("a closed resource is handed out")
					}
					if alive[k].Load() < 1 {
						t.Error("a resource in use is not alive")
					}
				}
				if err := in.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if r.Len() != 0 {
		t.Errorf("%d resources are left", r.Len())
	}
}
