// Package harnesstest uses package harness from tests: what is not there skips the
// test, or fails it where it has to be there, and logs are shown on failure only.
package harnesstest

import (
	"context"
	"os"
	"testing"
	"time"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/tools/envoy"
)

// patience bounds everything that is waited for. It is for a machine that has much
// else to do; nothing takes as long by itself.
const patience = 60 * time.Second

// Start starts a stack and closes it when the test ends. Where there is no Envoy the
// test is skipped, or fails under Bazel, which brings one.
func Start(t testing.TB, o harness.Options) *harness.Stack {
	t.Helper()
	if o.Envoy == "" {
		o.Envoy = envoy.Binary(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := harness.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if t.Failed() {
			t.Log(s.Logs())
		}
	})
	return s
}

// Missing skips a test that lacks something of its surroundings. Under Bazel, which
// brings everything, it fails the test.
func Missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("TEST_SRCDIR") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// Eventually calls holds until it returns nil, and fails the test when it does not
// in time.
func Eventually(t testing.TB, holds func() error) {
	t.Helper()
	if err := Within(patience, holds); err != nil {
		t.Fatal(err)
	}
}

// Within calls holds until it returns nil, for at most so long, and returns what it
// returned last.
func Within(limit time.Duration, holds func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := holds()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Context is bounded in time, for calls that are part of a test.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// Dir is a temporary directory whose path leaves room for a Unix socket's name.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := harness.ShortDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
