package policytest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// subject is a policy with which everything is right, save what a test breaks.
type subject struct {
	params subjectParams
	host   policy.Host
	does   *behaviour
	stop   chan struct{}
	ended  sync.WaitGroup
	shared policy.RequestMutation
	answer policy.ImmediateResponse
	asked  int
}

type subjectParams struct {
	Header policy.HeaderName `json:"header"`
	Key    policy.Secret     `json:"key"`
	Limits struct {
		Size int `json:"size"`
	} `json:"limits"`
}

// behaviour is what a test breaks; nil does what is right.
type behaviour struct {
	create   func(subjectParams, policy.Host) error
	start    func(*subject, context.Context) error
	headers  func(*subject, context.Context, *policy.RequestContext) (policy.RequestAction, error)
	body     func(*subject, *policy.RequestContext) (policy.RequestAction, error)
	chunk    func(*subject, *policy.ResponseContext, *policy.Chunk) (policy.ChunkAction, error)
	close    func(*subject) error
	adopt    func(*subject, any)
	trailers func(*subject, *policy.ResponseContext) (policy.ResponseAction, error)
	owns     func(*subject) []string
}

func (does *behaviour) builder() policy.Builder {
	return policy.Define(func(p subjectParams, h policy.Host) (*subject, error) {
		if does.create != nil {
			if err := does.create(p, h); err != nil {
				return nil, err
			}
		}
		if p.Limits.Size > 1_000_000 {
			return nil, errors.New("limits.size: it is too large")
		}
		return &subject{params: p, host: h, does: does, stop: make(chan struct{})}, nil
	})
}

func (s *subject) Start(ctx context.Context) error {
	if s.does.start != nil {
		return s.does.start(s, ctx)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://keys.example/", nil)
	if err != nil {
		return err
	}
	resp, err := s.host.HTTP.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	s.ended.Go(func() { <-s.stop })
	return nil
}

func (s *subject) OwnedRequestHeaders() []string {
	if s.does.owns != nil {
		return s.does.owns(s)
	}
	return []string{"x-ok"}
}

func (s *subject) Close() error {
	if s.does.close != nil {
		return s.does.close(s)
	}
	close(s.stop)
	s.ended.Wait()
	return nil
}

func (s *subject) Adopt(old any) {
	if s.does.adopt != nil {
		s.does.adopt(s, old)
	}
}

func (s *subject) OnRequestHeaders(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	if s.does.headers != nil {
		return s.does.headers(s, ctx, req)
	}
	if req.Header(string(s.params.Header)) == "" {
		return policy.Reject(400, "HEADER_MISSING", ""), nil
	}
	return &policy.RequestMutation{Headers: policy.HeaderMutation{Set: policytest.Headers("x-ok", "1")}}, nil
}

func (s *subject) OnRequestBody(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	if s.does.body != nil {
		return s.does.body(s, req)
	}
	return &policy.RequestMutation{Body: policy.NewBody(append([]byte("> "), req.Body()...))}, nil
}

func (s *subject) OnResponseBodyChunk(_ context.Context, resp *policy.ResponseContext, c *policy.Chunk) (policy.ChunkAction, error) {
	if s.does.chunk != nil {
		return s.does.chunk(s, resp, c)
	}
	return policy.ReplaceChunk([]byte("chunk")), nil
}

func (s *subject) OnResponseTrailers(_ context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	if s.does.trailers != nil {
		return s.does.trailers(s, resp)
	}
	return nil, nil
}

const subjectDefinition = `
apiVersion: policyengine/v1
name: subject
version: v1.2.3
description: Stands for any policy.
phases: [request_headers, request_body, response_body_chunks, response_trailers]
body: raw
parameters:
  type: object
  additionalProperties: false
  required: [header]
  properties:
    header: {type: string, format: header-name}
    key: {type: [string, object], x-secret: true, minLength: 1, required: [file], additionalProperties: false, properties: {file: {type: string, minLength: 1}}}
    limits: {type: object, additionalProperties: false, properties: {size: {type: integer}}}
examples:
- name: all of it
  params: {header: x-subject, key: the-secret-key, limits: {size: 5}}
- name: little
  params: {header: authorization}
`

// definitionFile writes a policy.yaml in which some strings are replaced.
func definitionFile(t testing.TB, oldAndNew ...string) policytest.Option {
	t.Helper()
	option, _ := definitionAt(t, oldAndNew...)
	return option
}

// definitionAt is definitionFile, and returns the path too.
func definitionAt(t testing.TB, oldAndNew ...string) (option policytest.Option, path string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "v1.2.3")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text := subjectDefinition
	for i := 0; i < len(oldAndNew); i += 2 {
		if !strings.Contains(text, oldAndNew[i]) {
			t.Fatalf("%q is not in the definition", oldAndNew[i])
		}
		text = strings.ReplaceAll(text, oldAndNew[i], oldAndNew[i+1])
	}
	path = filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return policytest.WithDefinition(path), path
}

func TestConformanceOfAGoodPolicy(t *testing.T) {
	policytest.Conformance(t, (&behaviour{}).builder(), definitionFile(t))
}

// TestConformanceFindsWhatIsWrong breaks one thing at a time.
func TestConformanceFindsWhatIsWrong(t *testing.T) {
	type ctx = context.Context
	type req = *policy.RequestContext
	var keptRequest req
	var keptResponse *policy.ResponseContext
	var keptCtx ctx
	keptIn := sync.Pool{}
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	for _, tt := range []struct {
		name  string
		check string
		does  behaviour
		def   []string // replacements in the definition
		want  string
	}{
		{"a phase that is not declared", "phases", behaviour{}, []string{"request_body, ", ""},
			"*policytest_test.subject implements the phase request_body, which policy.yaml does not declare"},
		{"a phase that is not implemented", "phases", behaviour{}, []string{"[request_headers", "[request_headers, request_trailers"},
			"policy.yaml declares the phase request_trailers, which *policytest_test.subject does not implement"},
		{"a directory that is not named as the version", "phases", behaviour{}, []string{"version: v1.2.3", "version: v1.2.4"}, "the directory is named v1.2.3"},
		{"an example that does not build", "examples", behaviour{create: func(subjectParams, policy.Host) error { return errors.New("no") }}, nil, `the example "all of it": no`},
		{"a New that panics", "examples", behaviour{create: func(subjectParams, policy.Host) error { panic("no") }}, nil, "it panicked: no"},
		{"a New that fetches", "examples", behaviour{create: func(_ subjectParams, h policy.Host) error {
			_, _ = h.HTTP.Get("https://keys.example/")
			return nil
		}}, nil, "it does no I/O"},
		{"a New that sets a timer", "examples", behaviour{create: func(_ subjectParams, h policy.Host) error {
			h.Clock.NewTimer(time.Hour)
			return nil
		}}, nil, "sets a timer"},
		{"a New that logs a secret", "examples", behaviour{create: func(p subjectParams, h policy.Host) error {
			key, _ := p.Key.Inline()
			h.Logger.Info("made", "key", key)
			return nil
		}}, nil, "New logs a secret"},
		{"a Close that fails", "examples", behaviour{close: func(*subject) error { return errors.New("stuck") }}, nil, "closing the policy: stuck"},
		{"a Close that panics", "goroutines", behaviour{close: func(*subject) error { panic("stuck") }}, nil, "it panicked: stuck"},
		{"a Start that panics", "hostile input", behaviour{start: func(*subject, ctx) error { panic("no key") }}, nil, "Start: it panicked: no key"},
		{"unknown fields", "parameters", behaviour{}, []string{"  additionalProperties: false\n  required", "  required"}, "write additionalProperties: false"},
		{"a New that panics at some parameters", "parameters", behaviour{create: func(p subjectParams, _ policy.Host) error {
			_ = make([]int, p.Limits.Size)
			return nil
		}}, nil, "damaged at limits.size: New: it panicked"},
		{"a New that does not say where", "parameters", behaviour{create: func(p subjectParams, _ policy.Host) error {
			if p.Limits.Size < 0 {
				return errors.New("it is below zero")
			}
			return nil
		}}, nil, "damaged at limits.size: the schema accepts"},
		{"a New that quotes a secret", "parameters", behaviour{create: func(p subjectParams, _ policy.Host) error {
			if key, _ := p.Key.Inline(); p.Limits.Size < 0 {
				return fmt.Errorf("limits: too small for %s", key)
			}
			return nil
		}}, nil, "the error contains a secret"},
		{"an owned header that is not for policies", "examples", behaviour{owns: func(*subject) []string { return []string{"x-ok", ":path"} }}, nil,
			`the policy cannot own the header ":path": it is a pseudo-header`},
		{"an owned header that comes later", "owned headers", behaviour{owns: func(s *subject) []string {
			s.asked++
			return []string{"x-ok", "x-two"}[:min(s.asked, 2)]
		}}, nil, "OwnedRequestHeaders does not return the same list each time"},
		{"an owned header that is random", "owned headers", behaviour{owns: func(s *subject) []string { return []string{fmt.Sprintf("x-%p", s)} }}, nil,
			"OwnedRequestHeaders does not return the same list each time"},
		{"a panic", "hostile input", behaviour{headers: func(s *subject, _ ctx, r req) (policy.RequestAction, error) {
			if v, ok := r.Headers().Lookup(string(s.params.Header)); ok {
				_ = v[0]
			}
			return nil, nil
		}}, nil, "it panicked: runtime error: index out of range"},
		{"a panic among chunks", "hostile input", behaviour{chunk: func(_ *subject, _ *policy.ResponseContext, c *policy.Chunk) (policy.ChunkAction, error) {
			_ = c.Data[0]
			return nil, nil
		}}, nil, "it panicked"},
		{"a call that never ends", "hostile input", behaviour{headers: func(*subject, ctx, req) (policy.RequestAction, error) {
			<-forever
			return nil, nil
		}}, nil, "a method has not returned"},
		{"what the client sent, unchecked, as a header's name", "hostile input", behaviour{headers: func(s *subject, _ ctx, r req) (policy.RequestAction, error) {
			return &policy.RequestMutation{Headers: policy.HeaderMutation{Set: policytest.Headers(r.Header(string(s.params.Header)), "1")}}, nil
		}}, nil, "the action cannot be applied"},
		{"a body that is modified", "hostile input", behaviour{
			headers: func(*subject, ctx, req) (policy.RequestAction, error) { return nil, nil },
			body: func(_ *subject, r req) (policy.RequestAction, error) {
				if b := r.Body(); len(b) > 0 {
					b[0]++
				}
				return nil, nil
			}}, nil, "the policy has modified the body"},
		{"a chunk that is modified", "hostile input", behaviour{
			headers: func(*subject, ctx, req) (policy.RequestAction, error) { return nil, nil },
			chunk: func(_ *subject, _ *policy.ResponseContext, c *policy.Chunk) (policy.ChunkAction, error) {
				if len(c.Data) > 0 {
					c.Data[0]++
				}
				return nil, nil
			}}, nil, "the policy has modified the body"},
		{"an action that is modified", "hostile input", behaviour{headers: func(s *subject, _ ctx, r req) (policy.RequestAction, error) {
			s.shared.Path = "/" + strconv.Itoa(len(r.Target()))
			return &s.shared, nil
		}}, nil, "the policy has modified an action"},
		{"an answer that is modified", "hostile input", behaviour{headers: func(s *subject, _ ctx, r req) (policy.RequestAction, error) {
			s.answer.Status, s.answer.Body = 403, []byte(r.Method())
			return &s.answer, nil
		}}, nil, "the policy has modified an action"},
		{"a secret in an error", "hostile input", behaviour{headers: func(s *subject, _ ctx, _ req) (policy.RequestAction, error) {
			key, _ := s.params.Key.Inline()
			return nil, fmt.Errorf("the key is not %s", key)
		}}, nil, "an error contains a secret"},
		{"a secret in an answer", "hostile input", behaviour{headers: func(s *subject, _ ctx, _ req) (policy.RequestAction, error) {
			key, _ := s.params.Key.Inline()
			return policy.Reject(401, "NO", "the key is not "+key), nil
		}}, nil, "the answer to the client contains a secret"},
		{"a secret in a log", "hostile input", behaviour{headers: func(s *subject, _ ctx, _ req) (policy.RequestAction, error) {
			key, _ := s.params.Key.Inline()
			s.host.Logger.Debug("compared", "key", key)
			return nil, nil
		}}, nil, "a secret is in the log"},
		{"a panic in concurrent use", "concurrency", behaviour{headers: func(*subject, ctx, req) (policy.RequestAction, error) { panic("twice") }}, nil, "in concurrent use: it panicked: twice"},
		{"a request that is kept", "retention", behaviour{headers: func(_ *subject, _ ctx, r req) (policy.RequestAction, error) {
			keptRequest = r
			return nil, nil
		}}, nil, "the policy keeps the exchange behind its views"},
		{"a response that is kept", "retention", behaviour{
			headers: func(*subject, ctx, req) (policy.RequestAction, error) { return nil, nil },
			trailers: func(_ *subject, r *policy.ResponseContext) (policy.ResponseAction, error) {
				keptResponse = r
				return nil, nil
			}}, nil, "the policy keeps"},
		{"a context that is kept", "retention", behaviour{headers: func(_ *subject, c ctx, _ req) (policy.RequestAction, error) {
			keptCtx = c
			return nil, nil
		}}, nil, "the policy keeps its context.Context"},
		{"a request that is kept in a pool", "retention", behaviour{headers: func(_ *subject, _ ctx, r req) (policy.RequestAction, error) {
			keptIn.Put(r)
			return nil, nil
		}}, nil, "the policy keeps"},
		{"a goroutine that has the request", "retention", behaviour{headers: func(_ *subject, _ ctx, r req) (policy.RequestAction, error) {
			go func() {
				<-forever
				r.Method()
			}()
			return nil, nil
		}}, nil, "the policy keeps"},
		{"an Adopt that trusts its argument", "adoption", behaviour{adopt: func(_ *subject, old any) { _ = old.(*subject) }}, nil, "Adopt from a <nil>: it panicked"},
		{"an old instance that takes what was adopted with it", "adoption", behaviour{
			adopt: func(s *subject, old any) {
				if o, ok := old.(*subject); ok {
					s.stop = o.stop
				}
			},
			close: func(s *subject) error { close(s.stop); return nil }}, nil, "closing the policy: it panicked"},
		{"a goroutine that is left", "goroutines", behaviour{close: func(*subject) error { return nil },
			start: func(*subject, ctx) error { go func() { <-forever }(); return nil }}, nil, "a goroutine is left after Close"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Contains(tt.want, "has not returned") {
				defer policytest.SetHangTimeout(100 * time.Millisecond)()
			}
			def := definitionFile(t, tt.def...)
			wantFailure(t, tt.want, func(t testing.TB) { policytest.RunConformance(t, tt.check, tt.does.builder(), def) })
		})
	}
	_, _, _ = keptRequest, keptResponse, keptCtx
}

// TestConformanceNeedsSomethingToCheck proves that nothing passes for want of input.
func TestConformanceNeedsSomethingToCheck(t *testing.T) {
	does := &behaviour{}
	noExamples := subjectDefinition[strings.Index(subjectDefinition, "examples:"):]
	wantFailure(t, "no examples", func(t testing.TB) {
		policytest.RunConformance(t, "examples", does.builder(), definitionFile(t, noExamples, ""))
	})
	for _, check := range policytest.ConformanceChecks() {
		wantFailure(t, "policy.yaml", func(t testing.TB) {
			policytest.RunConformance(t, check, does.builder(), policytest.WithDefinition("testdata/none/policy.yaml"))
		})
	}
	iface := policy.Define(func(struct{}, policy.Host) (policy.RequestHeadersPolicy, error) { return nil, nil })
	wantFailure(t, "must return a concrete type", func(t testing.TB) {
		policytest.RunConformance(t, "examples", iface, definitionFile(t))
	})
}

// mismatched has a method with the name of a phase's and another signature.
type mismatched struct{}

func (mismatched) OnRequestHeaders(context.Context) error { return nil }

// A method of the right name and another signature is told as that, and not as a phase
// that is not implemented.
func TestConformanceFindsOtherSignatures(t *testing.T) {
	builder := policy.Define(func(subjectParams, policy.Host) (mismatched, error) { return mismatched{}, nil })
	got := failures(t, func(t testing.TB) { policytest.RunConformance(t, "phases", builder, definitionFile(t)) })
	if !strings.Contains(got, "policytest_test.mismatched has the method OnRequestHeaders(context.Context) error, which is never called") ||
		strings.Contains(got, "phase request_headers, which") {
		t.Errorf("the test said %q", got)
	}
}
