package policytest_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// scripted is a policy that does in each phase what script says, and notes what it
// saw.
type scripted struct {
	*script
	params scriptedParams
	host   policy.Host
}

type script struct {
	phases  policy.PhaseSet
	holds   bool
	reads   bool
	request func(policy.Phase, *policy.RequestContext) (policy.RequestAction, error)
	respond func(policy.Phase, *policy.ResponseContext) (policy.ResponseAction, error)
	chunk   func(policy.Phase, *policy.Chunk) (policy.ChunkAction, error)
	start   func(context.Context) error
	closed  int
	saw     []string
}

type scriptedParams struct {
	Name  string        `json:"name"`
	Limit int           `json:"limit"`
	Key   policy.Secret `json:"key"`
}

func (s *script) builder() policy.Builder {
	return policy.Define(func(p scriptedParams, h policy.Host) (*scripted, error) {
		if p.Name == "bad" {
			return nil, fmt.Errorf("name: it is bad")
		}
		return &scripted{s, p, h}, nil
	})
}

func (s *scripted) ActivePhases() policy.PhaseSet { return s.phases }

func (s *scripted) HoldsChunks() bool { return s.holds }

func (s *scripted) ReadsChunks() bool { return s.reads }

func (s *scripted) Start(ctx context.Context) error {
	if s.start == nil {
		return nil
	}
	return s.start(ctx)
}

func (s *scripted) Close() error { s.closed++; return nil }

func (s *scripted) onRequest(phase policy.Phase, c *policy.RequestContext) (policy.RequestAction, error) {
	s.saw = append(s.saw, fmt.Sprintf("%v: %s %s body=%q trailers=%d", phase, c.Method(), c.Target(), c.Body(), c.Trailers().Len()))
	if s.request == nil {
		return nil, nil
	}
	return s.request(phase, c)
}

func (s *scripted) onResponse(phase policy.Phase, c *policy.ResponseContext) (policy.ResponseAction, error) {
	s.saw = append(s.saw, fmt.Sprintf("%v: %d body=%q trailers=%d", phase, c.Status(), c.Body(), c.Trailers().Len()))
	if s.respond == nil {
		return nil, nil
	}
	return s.respond(phase, c)
}

func (s *scripted) onChunk(phase policy.Phase, c *policy.Chunk) (policy.ChunkAction, error) {
	s.saw = append(s.saw, fmt.Sprintf("%v: %q last=%v state=%v", phase, c.Data, c.Last, c.State))
	if s.chunk == nil {
		return nil, nil
	}
	return s.chunk(phase, c)
}

func (s *scripted) OnRequestHeaders(_ context.Context, c *policy.RequestContext) (policy.RequestAction, error) {
	return s.onRequest(policy.RequestHeaders, c)
}
func (s *scripted) OnRequestBody(_ context.Context, c *policy.RequestContext) (policy.RequestAction, error) {
	return s.onRequest(policy.RequestBody, c)
}
func (s *scripted) OnRequestBodyChunk(_ context.Context, _ *policy.RequestContext, c *policy.Chunk) (policy.ChunkAction, error) {
	return s.onChunk(policy.RequestBodyChunks, c)
}
func (s *scripted) OnRequestTrailers(_ context.Context, c *policy.RequestContext) (policy.RequestAction, error) {
	return s.onRequest(policy.RequestTrailers, c)
}
func (s *scripted) OnResponseHeaders(_ context.Context, c *policy.ResponseContext) (policy.ResponseAction, error) {
	return s.onResponse(policy.ResponseHeaders, c)
}
func (s *scripted) OnResponseBody(_ context.Context, c *policy.ResponseContext) (policy.ResponseAction, error) {
	return s.onResponse(policy.ResponseBody, c)
}
func (s *scripted) OnResponseBodyChunk(_ context.Context, _ *policy.ResponseContext, c *policy.Chunk) (policy.ChunkAction, error) {
	return s.onChunk(policy.ResponseBodyChunks, c)
}
func (s *scripted) OnResponseTrailers(_ context.Context, c *policy.ResponseContext) (policy.ResponseAction, error) {
	return s.onResponse(policy.ResponseTrailers, c)
}

func newScripted(t testing.TB, s *script, opts ...policytest.Option) *policytest.Policy {
	t.Helper()
	opts = append([]policytest.Option{policytest.WithDefinition("testdata/v1.0.0/policy.yaml")}, opts...)
	return policytest.New(t, s.builder(), `{}`, opts...)
}

// watched stands for the t of a test that is to fail.
type watched struct {
	testing.TB
	mu       sync.Mutex
	messages []string
	cleanups []func()
}

func (w *watched) Helper() {}

func (w *watched) Error(args ...any) { w.note(fmt.Sprint(args...)) }

func (w *watched) Errorf(format string, args ...any) { w.note(fmt.Sprintf(format, args...)) }

func (w *watched) Fatal(args ...any) { w.note(fmt.Sprint(args...)); runtime.Goexit() }

func (w *watched) Fatalf(format string, args ...any) {
	w.note(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (w *watched) Cleanup(f func()) { w.cleanups = append(w.cleanups, f) }

func (w *watched) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages = append(w.messages, s)
}

// failures runs f as a test and returns what it said when it failed.
func failures(t *testing.T, f func(t testing.TB)) string {
	t.Helper()
	w := &watched{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, c := range w.cleanups {
				c()
			}
		}()
		f(w)
	}()
	<-done
	return strings.Join(w.messages, "\n")
}

// wantFailure fails t where f does not fail with a message that has want in it.
func wantFailure(t *testing.T, want string, f func(t testing.TB)) {
	t.Helper()
	if got := failures(t, f); !strings.Contains(got, want) {
		t.Errorf("the test said %q, want %q in it", got, want)
	}
}
