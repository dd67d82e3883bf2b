package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// keySet is a resource that instances share.
type keySet struct{ closed *atomic.Int64 }

func (k *keySet) Close() error { k.closed.Add(1); return nil }

// sharingScript is a policy whose instances share a key set by the first word of their
// parameter other.
func sharingScript(made, closed *atomic.Int64) *script {
	s := setHeader("x", "1")
	s.made = func(host policy.Host, p scriptParams) error {
		key, _, _ := strings.Cut(p.Other, " ")
		_, err := policy.Share(host, key, func(h policy.Host) (*keySet, error) {
			made.Add(1)
			h.Logger.Warn("made", "key", key)
			return &keySet{closed}, nil
		})
		return err
	}
	return s
}

// chainsOf has n chains, each with a step of the script that shares by the key.
func chainsOf(ps worker.PolicySpec, n int, key, other string) worker.Spec {
	spec := worker.Spec{Version: "v"}
	for i := range n {
		ps := ps
		ps.Params = fmt.Appendf(nil, `{"script":%q,"other":%q}`, ps.ID, key)
		ps.ID = "step"
		if other != "" {
			ps.When = other
		}
		spec.Chains = append(spec.Chains, worker.ChainSpec{Name: fmt.Sprint(i), Policies: []worker.PolicySpec{ps}})
	}
	return spec
}

// TestChainsShareResources proves that the instances of many chains share one resource,
// that it survives reloads, also one that makes all instances again, and that it is closed
// with its last user.
func TestChainsShareResources(t *testing.T) {
	h := newHarness(t, false)
	var made, closed atomic.Int64
	ps := h.use(sharingScript(&made, &closed))
	update := func(spec worker.Spec) {
		t.Helper()
		if _, err := h.Update(context.Background(), spec); err != nil {
			t.Fatal(err)
		}
	}
	update(chainsOf(ps, 50, "issuer", ""))
	if made.Load() != 1 {
		t.Errorf("50 chains made %d key sets", made.Load())
	}
	if log := h.log.String(); strings.Contains(log, "chain=") || !strings.Contains(log, "policy=script@v1.0.0") {
		t.Errorf("the resource's logger is one chain's: %s", log)
	}
	update(chainsOf(ps, 50, "issuer with other parameters", "")) // new instances
	update(chainsOf(ps, 20, "issuer with other parameters", `request.method == "GET"`))
	if made.Load() != 1 || closed.Load() != 0 {
		t.Errorf("after reloads %d key sets were made and %d closed", made.Load(), closed.Load())
	}
	if _, err := h.Check(chainsOf(ps, 3, "issuer", "")); err != nil || made.Load() != 1 || closed.Load() != 0 {
		t.Errorf("a check: %v; %d key sets were made and %d closed", err, made.Load(), closed.Load())
	}
	newVersion := ps
	newVersion.Version = "v1.2.0"
	update(chainsOf(newVersion, 20, "issuer", ""))
	waitFor(t, "the first key set to be closed", func() bool { return closed.Load() == 1 })
	if made.Load() != 2 {
		t.Errorf("another version: %d key sets were made", made.Load())
	}
	update(worker.Spec{Version: "none"})
	waitFor(t, "the second key set to be closed", func() bool { return closed.Load() == 2 })
}

// TestResourcesOfWhatIsRefused proves that a configuration which does not take effect
// leaves no resource behind: neither where New fails after it has shared one, nor where
// something else is wrong, nor of disabled steps.
func TestResourcesOfWhatIsRefused(t *testing.T) {
	h := newHarness(t, false)
	var made, closed atomic.Int64
	s := sharingScript(&made, &closed)
	share := s.made
	fails := false
	s.made = func(host policy.Host, p scriptParams) error {
		if err := share(host, p); err != nil || !fails {
			return err
		}
		return errors.New("no")
	}
	ps := h.use(s)
	gone := func(what string, n int64) {
		t.Helper()
		waitFor(t, what+" to leave nothing behind", func() bool { return closed.Load() == n && made.Load() == n })
	}
	fails = true
	if _, err := h.Update(context.Background(), chainsOf(ps, 1, "k", "")); err == nil {
		t.Fatal("accepted")
	}
	gone("a failing New", 1)
	fails = false
	if _, err := h.Update(context.Background(), chainsOf(ps, 1, "k", "nosuch")); err == nil {
		t.Fatal("accepted")
	}
	gone("a refused configuration", 2)
	ps.Disabled = true
	if _, err := h.Update(context.Background(), chainsOf(ps, 1, "k", "")); err != nil {
		t.Fatal(err)
	}
	gone("a disabled step", 3)
}

// TestSharingOverConcurrentUpdatesAndChecks proves with the race detector that updates and
// checks at the same time neither close what is in use nor leave anything behind.
func TestSharingOverConcurrentUpdatesAndChecks(t *testing.T) {
	h := newHarness(t, false)
	var made, closed atomic.Int64
	ps := h.use(sharingScript(&made, &closed))
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 40 {
				spec := chainsOf(ps, 3, fmt.Sprint(i%3), "")
				var err error
				if g%2 == 0 {
					_, err = h.Update(context.Background(), spec)
				} else {
					_, err = h.Check(spec)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if _, err := h.Update(context.Background(), worker.Spec{Version: "none"}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "everything to be closed", func() bool { return closed.Load() == made.Load() })
}
