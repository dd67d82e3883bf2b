package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

func (h *harness) onlyRecord() *telemetry.Decision {
	h.t.Helper()
	h.records.mu.Lock()
	defer h.records.mu.Unlock()
	if len(h.records.all) != 1 {
		h.t.Fatalf("%d records, want 1", len(h.records.all))
	}
	return h.records.all[0]
}

// TestNotesAreInTheRecord proves that annotations and spans of each call are in its step,
// however the call ends, and in no other.
func TestNotesAreInTheRecord(t *testing.T) {
	for name, end := range map[string]func() (policy.RequestAction, error){
		"passes":   func() (policy.RequestAction, error) { return nil, nil },
		"mutates":  func() (policy.RequestAction, error) { return &policy.RequestMutation{Method: "PUT"}, nil },
		"answers":  func() (policy.RequestAction, error) { return policy.Reject(403, "NO", ""), nil },
		"errs":     func() (policy.RequestAction, error) { return nil, errors.New("no") },
		"panics":   func() (policy.RequestAction, error) { panic("no") },
		"is wrong": func() (policy.RequestAction, error) { return &policy.RequestMutation{Method: "a b"}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true)
			noting := h.use(onRequestHeaders(func(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
				req.Annotate(slog.Int("score", 7), slog.String("bad key", ""))
				req.StartSpan("search", slog.Bool("deep", true)).End(errors.New("nothing"))
				return end()
			}))
			noting.OnError = worker.ContinueOnError
			x, _ := h.runRequest(h.load(h.use(setHeader("x-before", "1")), noting, h.use(setHeader("x-after", "1"))))
			x.End(false)
			for _, s := range h.onlyRecord().Steps {
				if s.ID != noting.ID {
					if len(s.Annotations)+len(s.Spans)+s.NotesDropped != 0 {
						t.Errorf("the step %s has %v, %v", s.ID, s.Annotations, s.Spans)
					}
					continue
				}
				if len(s.Annotations) != 1 || s.Annotations[0].Value.Int64() != 7 || s.NotesDropped != 1 {
					t.Errorf("annotations %v, %d dropped", s.Annotations, s.NotesDropped)
				}
				if len(s.Spans) != 1 || s.Spans[0].Name != "search" || s.Spans[0].Error != "nothing" || s.Spans[0].Ended.Before(s.Spans[0].Began) {
					t.Errorf("spans %+v", s.Spans)
				}
			}
		})
	}
}

// TestNotesOfAnAbandonedCall proves that the record tells what a call noted before it was
// abandoned, and nothing that it notes afterwards.
func TestNotesOfAnAbandonedCall(t *testing.T) {
	h := newHarness(t, true)
	release := make(chan struct{})
	late := h.use(onRequestHeaders(func(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
		span := req.StartSpan("ask")
		req.Annotate(slog.Int("before", 1))
		<-release
		req.Annotate(slog.Int("after", 1))
		span.Annotate(slog.Int("after", 1))
		span.End(errors.New("after"))
		return nil, nil
	}))
	late.Timeout, late.OnError = 5*time.Millisecond, worker.ContinueOnError
	x, _, done := runAbandoned(t, h.load(late, h.use(setHeader("x-after", "1"))))
	close(release)
	<-done
	x.End(false)
	s := h.onlyRecord().Steps[0]
	if len(s.Annotations) != 1 || s.Annotations[0].Key != "before" {
		t.Errorf("annotations %v", s.Annotations)
	}
	if len(s.Spans) != 1 || s.Spans[0].Error != "" || len(s.Spans[0].Attributes) != 0 || s.Spans[0].Ended.IsZero() {
		t.Errorf("spans %+v", s.Spans)
	}
}

// TestNotesTellNoSecretOfTheParameters proves that what a policy notes is scrubbed as its
// errors are.
func TestNotesTellNoSecretOfTheParameters(t *testing.T) {
	const secret = "token=hunter2"
	h := newHarness(t, true)
	ps := h.use(onRequestHeaders(func(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
		req.Annotate(slog.String("key", "it is "+secret))
		req.StartSpan(secret, slog.String("key", secret)).End(errors.New(secret))
		return nil, nil
	}))
	params, err := json.Marshal(scriptParams{Script: ps.ID, Other: "https://idp.example/keys?" + secret})
	if err != nil {
		t.Fatal(err)
	}
	ps.Params = params
	x, _ := h.runRequest(h.load(ps))
	x.End(false)
	s := h.onlyRecord().Steps[0]
	if got := s.Annotations[0].Value.String(); got != "it is [redacted]" {
		t.Errorf("the annotation is %q", got)
	}
	if got := s.Spans[0]; got.Name != "[redacted]" || got.Error != "[redacted]" || got.Attributes[0].Value.String() != "[redacted]" {
		t.Errorf("the span is %+v", got)
	}
}
