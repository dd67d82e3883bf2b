package config_test

import (
	"context"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newWorker(t *testing.T, registry *worker.Registry) *worker.Worker {
	t.Helper()
	w := worker.New(registry, worker.Options{Host: policy.Host{Logger: slog.New(slog.DiscardHandler), Clock: host.Clock{}}})
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}
