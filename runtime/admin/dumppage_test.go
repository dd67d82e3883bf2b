package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

type nothing struct{}

func newNothing(struct{}, policy.Host) (*nothing, error) { return &nothing{}, nil }

func (*nothing) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func dumpWorker(t *testing.T) *worker.Worker {
	t.Helper()
	registry, err := worker.NewRegistry(worker.Entry{
		Definition: `{"apiVersion":"policyengine/v1","name":"nothing","version":"v1.0.0","description":"Does <nothing>.","phases":["request_headers"]}`,
		Factory:    policy.Define(newNothing),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(registry, worker.Options{Host: policy.Host{Logger: slog.New(slog.DiscardHandler), Clock: host.Clock{}}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return w
}

func manyChains(n int) worker.Spec {
	spec := worker.Spec{Version: fmt.Sprint(n), OnUnknownRoute: worker.ContinueUnknownRoute}
	for i := range n {
		name := fmt.Sprintf("chain-%d", i)
		spec.Chains = append(spec.Chains, worker.ChainSpec{Name: name, Policies: []worker.PolicySpec{{Name: "nothing", Version: "v1", When: `request.path == "<&>"`}}})
		// Not in the order of their names, and with characters that JSON escapes.
		spec.Routes = append(spec.Routes, worker.RouteSpec{Name: fmt.Sprintf("%d/<\"route\">", n-i), Chain: name})
	}
	return spec
}

// TestDumpPageIsTheDump proves that what is written in parts is what encoding/json makes of the whole.
func TestDumpPageIsTheDump(t *testing.T) {
	w := dumpWorker(t)
	o := &Options{Worker: w, Ready: func() bool { return true }, Draining: func() bool { return false }, Version: Version{Build: Build{Engine: "<e>", Go: "go1"}}, Logger: slog.New(slog.DiscardHandler)}
	compare := func(what string) {
		t.Helper()
		recorder := httptest.NewRecorder()
		o.dump(recorder, httptest.NewRequest(http.MethodGet, "/config_dump", nil))
		want, err := json.MarshalIndent(o.whole(), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if got := recorder.Body.String(); got != string(want)+"\n" {
			t.Errorf("%s: the page is\n%s\nand the dump\n%s", what, got, want)
		}
	}
	compare("no configuration")
	for _, n := range []int{0, 1, 3} {
		if _, err := w.Update(t.Context(), manyChains(n)); err != nil {
			t.Fatal(err)
		}
		compare(fmt.Sprint(n, " chains"))
	}
	idle := manyChains(2)
	idle.Routes = idle.Routes[:1]
	if _, err := w.Update(t.Context(), idle); err != nil {
		t.Fatal(err)
	}
	w.Refuse("refused", errors.New("it is <wrong>"))
	o.Filters = func() []FilterDump { return []FilterDump{{Connection: "c", Problem: "p"}} }
	compare("a warning, a refusal and a filter")
}

// largestWrite is a response of which only the size is kept.
type largestWrite struct {
	http.ResponseWriter
	total, largest int
}

func (l *largestWrite) Write(b []byte) (int, error) {
	l.total += len(b)
	l.largest = max(l.largest, len(b))
	return len(b), nil
}

// TestDumpPageIsStreamed proves that no part of the page grows with the number of chains.
func TestDumpPageIsStreamed(t *testing.T) {
	w := dumpWorker(t)
	if _, err := w.Update(t.Context(), manyChains(2000)); err != nil {
		t.Fatal(err)
	}
	o := &Options{Worker: w, Ready: func() bool { return true }, Draining: func() bool { return false }, Logger: slog.New(slog.DiscardHandler)}
	sizes := &largestWrite{ResponseWriter: httptest.NewRecorder()}
	o.dump(sizes, httptest.NewRequest(http.MethodGet, "/config_dump", nil))
	if sizes.largest > 64<<10 || sizes.total < 10*sizes.largest {
		t.Errorf("the page has %d bytes, and one part of it %d", sizes.total, sizes.largest)
	}
}
