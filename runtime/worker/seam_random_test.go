package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// TestTheSeamOnRandomChains compares chains whose policies are called through bytes with the
// same chains in this process: outcomes, the exchange with its changes, what the chain still
// needs, the decision record and the counts of each step have to be the same.
func TestTheSeamOnRandomChains(t *testing.T) {
	defer func() { theWay = inProcess }()
	rounds := 150
	if raceEnabled || testing.Short() {
		rounds = 20
	}
	seen := map[string]int{}
	for seed := range rounds {
		theWay = inProcess
		want := runRandom(t, uint64(seed))
		for _, l := range strings.Split(want, "\n") {
			if kind, _, ok := strings.Cut(l, ":"); ok && strings.HasPrefix(kind, "step ") {
				seen[strings.TrimPrefix(kind, "step ")]++
			}
		}
		for name, w := range map[string]way{"together": together, "apart": apart, "mixed": mixed} {
			theWay = w
			if got := runRandom(t, uint64(seed)); got != want {
				t.Fatalf("chain %d, %s: got\n%s\nin this process it is\n%s", seed, name, got, want)
			}
		}
	}
	for _, kind := range []string{"pass", "mutate", "respond", "skip", "error", "panic"} {
		if seen[kind] == 0 {
			t.Errorf("no step of all chains has had the outcome %q; there were %v", kind, seen)
		}
	}
}

type listed map[string]any

func (l listed) Lookup(name string) (any, bool) { v, ok := l[name]; return v, ok }
func (l listed) All() iter.Seq2[string, any]    { return maps.All(l) }

// runRandom makes a chain from the seed, runs an exchange through it and writes down all that
// can be seen.
func runRandom(t *testing.T, seed uint64) string {
	h := newHarness(t, true)
	g := &chains{rand.New(rand.NewPCG(seed, 1)), h}
	spec := worker.ChainSpec{Name: "c"}
	for range 1 + g.IntN(7) {
		spec.Policies = append(spec.Policies, g.policy(len(spec.Policies), false))
	}
	for range g.IntN(3) {
		spec.OnReject = append(spec.OnReject, g.policy(len(spec.Policies)+len(spec.OnReject), true))
	}
	c := h.loadChain(spec)
	var b strings.Builder
	x := c.Begin()
	if g.IntN(8) == 0 {
		x.End(false)
		x = c.BeginShadow()
	}
	g.drive(&b, x)
	x.End(false)
	for i, d := range h.records.all {
		for j := range d.Steps {
			d.Steps[j].At, d.Steps[j].Took = 0, 0
			d.Steps[j].ID = d.Steps[j].ID[:3]
			for k := range d.Steps[j].Spans {
				s := &d.Steps[j].Spans[k]
				s.Began, s.Ended = epoch, epoch
			}
			fmt.Fprintf(&b, "step %s: %+v\n", d.Steps[j].Outcome, d.Steps[j])
		}
		d.Steps, d.Took, d.By.ID, d.Cause = nil, 0, "", withoutID(d.Cause)
		d.Began = epoch
		fmt.Fprintf(&b, "record %d: %+v\n", i, *d)
	}
	for s := range c.Steps {
		fmt.Fprintf(&b, "disagreements %d\n", s.Metrics.Disagreements.Load())
	}
	return b.String()
}

// withoutID takes the step's name, which differs from run to run, and times out of a cause.
func withoutID(cause string) string {
	before, _, _ := strings.Cut(cause, `, of which "`)
	return before
}

type chains struct {
	*rand.Rand
	h *harness
}

func pick[T any](g *chains, of ...T) T { return of[g.IntN(len(of))] }

func (g *chains) policy(i int, onReject bool) worker.PolicySpec {
	s := &script{holds: g.IntN(2) == 0}
	for p := policy.Phase(0); p < policy.PhaseCount; p++ {
		if g.IntN(3) == 0 || onReject && (p == policy.ResponseHeaders || p == policy.ResponseBody) {
			s.phases = s.phases.With(p)
		}
	}
	// One kind of body policy in each direction, as the drive has it.
	act := g.IntN(14)
	name := fmt.Sprintf("x-%02d", i)
	s.request = func(_ context.Context, p policy.Phase, r *policy.RequestContext) (policy.RequestAction, error) {
		return requestAct(act, name, s.phases, p, r)
	}
	s.response = func(_ context.Context, p policy.Phase, r *policy.ResponseContext) (policy.ResponseAction, error) {
		return responseAct(act, name, s.phases, p, r)
	}
	s.chunk = func(_ context.Context, c *policy.Chunk) (policy.ChunkAction, error) { return chunkAct(act, c) }
	ps := g.h.use(s)
	ps.ID = fmt.Sprintf("%02d-%s", i, ps.ID)
	ps.Mode = pick(g, worker.Enforce, worker.Enforce, worker.Shadow)
	ps.OnError = pick(g, worker.DenyOnError, worker.ContinueOnError, worker.ContinueOnError)
	if g.IntN(3) == 0 {
		ps.When = pick(g, `request.method == "POST"`, `request.headers["x-00"] != ""`, `"x-01" in request.headers`, `request.headers["absent"] == ""`,
			`auth.subject == "me"`, `request.path.endsWith("/1")`)
	}
	return ps
}

func set(name, value string) policy.HeaderMutation {
	return policy.HeaderMutation{Set: []policy.Header{{Name: name, Value: value}}}
}

// requestAct is a deterministic policy for each number.
func requestAct(act int, name string, phases policy.PhaseSet, p policy.Phase, r *policy.RequestContext) (policy.RequestAction, error) {
	r.Annotate(slog.Int("act", act), slog.String("bad key", ""))
	r.StartSpan("part", slog.Bool("request", true)).End(errors.New("nothing"))
	m := &policy.RequestMutation{}
	switch act {
	case 0:
		return nil, nil
	case 1:
		return nil, errors.New("cannot decide")
	case 2:
		panic("boom")
	case 3:
		return &policy.ImmediateResponse{Status: 403, Reason: "NO", Cause: "because", Body: []byte("no\xff"), Headers: []policy.Header{{Name: "X-A", Value: "1"}}}, nil
	case 4:
		return (*policy.ImmediateResponse)(nil), nil
	case 5:
		return struct{ *policy.RequestMutation }{}, nil
	case 6:
		return (*policy.RequestMutation)(nil), nil
	case 7:
		m.Headers = policy.HeaderMutation{Remove: []string{"accept"}, Append: []policy.Header{{Name: "x-many", Value: name}, {Name: "x-many", Value: ""}},
			AddIfAbsent: []policy.Header{{Name: "X-Tier", Value: "no"}}, OverwriteIfExists: []policy.Header{{Name: "x-tier", Value: name}}}
	case 8:
		m.Principal = &policy.Principal{Subject: "me", Issuer: "us", Scopes: []string{"a", "b"}, Claims: map[string]any{
			"n": json.Number("12345678901234567890"), "list": []any{"x", 1.5, true, nil, map[string]any{}}}}
		m.Metadata = []policy.Entry{{Key: "k", Value: map[string]any{"by": name}}, {Key: "none", Value: nil}}
		m.DynamicMetadata = []policy.Entry{{Key: "d", Value: []any{1.0, "two"}}}
	case 9:
		m.Method, m.Authority, m.Path = "PUT", "other.example", "/new/1"
		m.Query = policy.QueryMutation{Remove: []string{"limit"}, Set: []policy.Param{{Name: "a", Value: "&"}}, Append: []policy.Param{{Name: "a", Value: name}}}
	case 10:
		m.Headers = set("not a name", "v")
	default:
		m = &policy.RequestMutation{Headers: set(name, saw(phases, r))}
	}
	switch p {
	case policy.RequestBody:
		if act > 10 {
			m.Body = policy.NewBody([]byte(name + string(r.Body()) + "\xfe"))
		}
	case policy.RequestTrailers:
		m = &policy.RequestMutation{Trailers: m.Headers, Metadata: m.Metadata, Principal: m.Principal}
	}
	return m, nil
}

func responseAct(act int, name string, phases policy.PhaseSet, p policy.Phase, r *policy.ResponseContext) (policy.ResponseAction, error) {
	r.Annotate(slog.String("act", name))
	m := &policy.ResponseMutation{}
	switch act {
	case 0:
		return nil, nil
	case 1:
		return nil, errors.New("cannot decide")
	case 2:
		panic("boom")
	case 3:
		status := 7
		return &policy.ImmediateResponse{Status: 503, GRPCStatus: &status, Body: []byte{}}, nil
	case 4:
		return (*policy.ImmediateResponse)(nil), nil
	case 5:
		return struct{ *policy.ResponseMutation }{}, nil
	case 6:
		return (*policy.ResponseMutation)(nil), nil
	case 7:
		m.Status = 404
	case 8:
		m.Metadata = []policy.Entry{{Key: "k", Value: "response"}}
		m.DynamicMetadata = []policy.Entry{{Key: "d", Value: false}}
	case 10:
		m.Headers = set("not a name", "v")
	default:
		req := r.Request()
		m.Headers = set(name, fmt.Sprintf("%d %s", r.Status(), saw(phases, &req)))
		for n, v := range r.Headers().All() {
			m.Headers.Append = append(m.Headers.Append, policy.Header{Name: name, Value: n + "=" + v[:min(len(v), 9)]})
		}
	}
	switch p {
	case policy.ResponseBody:
		if act > 10 {
			m.Body = policy.NewBody(bytes.ToUpper(r.Body()))
		}
	case policy.ResponseTrailers:
		m = &policy.ResponseMutation{Trailers: m.Headers, Metadata: m.Metadata}
	}
	return m, nil
}

func chunkAct(act int, c *policy.Chunk) (policy.ChunkAction, error) {
	n, _ := c.State.(int)
	c.State = n + len(c.Data)
	switch act {
	case 1:
		return nil, errors.New("cannot decide")
	case 2:
		panic("boom")
	case 3:
		return policy.Reject(422, "BAD", ""), nil
	case 4:
		return (*policy.ImmediateResponse)(nil), nil
	case 5, 6, 7:
		if !c.Last && n < 5 {
			return policy.Hold(), nil
		}
		return nil, nil
	case 8, 9:
		return policy.ReplaceChunk(fmt.Appendf(nil, "%s[%d]\xff", c.Data, c.State)), nil
	case 10:
		return policy.ReplaceChunk(nil), nil
	}
	return nil, nil
}

// saw is what a policy sees of a request: bodies and trailers where it acts on them.
func saw(phases policy.PhaseSet, r *policy.RequestContext) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %s %s %v", r.Method(), r.Scheme(), r.Authority(), r.Target(), r.Route(), r.Shadow())
	for n, v := range r.Headers().All() {
		fmt.Fprintf(&b, " %s=%q", n, v[:min(len(v), 9)])
	}
	if p := r.Principal(); p != nil {
		fmt.Fprintf(&b, " %s %s %v %v", p.Subject, p.Issuer, p.Scopes, p.Claims)
	}
	v, ok := r.Metadata("k")
	fmt.Fprintf(&b, " %v %v", v, ok)
	_, ok = r.Metadata("none")
	fmt.Fprintf(&b, " %v", ok)
	if phases.Has(policy.RequestTrailers) {
		for n, v := range r.Trailers().All() {
			fmt.Fprintf(&b, " trailer %s=%q", n, v[:min(len(v), 9)])
		}
	}
	if phases.Has(policy.RequestBody) {
		fmt.Fprintf(&b, " body %q", r.Body())
	}
	return b.String()
}

// drive runs all phases, and writes down what comes of each.
func (g *chains) drive(b *strings.Builder, x worker.Executor) {
	e := x.Exchange()
	e.Route = "r"
	e.Request.Method, e.Request.Scheme, e.Request.Authority, e.Request.Path = pick(g, "GET", "POST"), "https", "api.example", "/v1/charges?limit=3"
	e.Request.Headers.Reset([]exchange.Field{{Name: "accept", Value: "*/*"}, {Name: "x-tier", Value: "free\xff"}})
	e.Attributes = listed{"source.address": "192.0.2.1:5", "n": 1.5, "l": []any{nil, true}}
	chunks := [2]bool{g.IntN(2) == 0, g.IntN(2) == 0}
	for p := policy.Phase(0); p < policy.PhaseCount; p++ {
		switch p {
		case policy.RequestBody:
			e.Request.Body = exchange.Body{Bytes: []byte("request\xff body"), Present: true}
		case policy.RequestTrailers:
			e.Request.Trailers.Reset([]exchange.Field{{Name: "t", Value: "1"}})
		case policy.ResponseHeaders:
			e.Response.Status = 200
			e.Response.Headers.Reset([]exchange.Field{{Name: "server", Value: "origin"}, {Name: "server", Value: "two"}})
		case policy.ResponseBody:
			e.Response.Body = exchange.Body{Bytes: []byte("response body"), Present: true}
		case policy.ResponseTrailers:
			e.Response.Trailers.Reset([]exchange.Field{{Name: "t", Value: "2"}})
		}
		direction := 0
		if p.IsResponse() {
			direction = 1
		}
		var outs []worker.Outcome
		switch p {
		case policy.RequestBodyChunks, policy.ResponseBodyChunks:
			for i, piece := range []string{"one", "", "three\xff", "four"} {
				if !chunks[direction] {
					break
				}
				outs = append(outs, x.RunChunk(context.Background(), p, budget, worker.Chunk{Data: []byte(piece), Last: i == 3}, noResume{g.h.t}))
				if outs[i].Kind != worker.Continue {
					break
				}
			}
		default:
			outs = append(outs, x.Run(context.Background(), p, budget, noResume{g.h.t}))
		}
		for _, out := range outs {
			fmt.Fprintf(b, "%s: kind %d %s chunk %q %v %v held %d\n", p, out.Kind, out.Details, out.Chunk.Data, out.Chunk.Last, out.Chunk.Changed, x.Held())
			if r := out.Response; r != nil {
				grpc := -1
				if r.GRPCStatus != nil {
					grpc = *r.GRPCStatus
				}
				fmt.Fprintf(b, "answer %d %v %q %q %q grpc %d\n", r.Status, r.Headers, r.Body, r.Reason, r.Cause, grpc)
			}
		}
		dump(b, e)
		fmt.Fprintf(b, "needs %+v\n", x.Needs())
		if n := len(outs); n > 0 && outs[n-1].Kind != worker.Continue {
			return
		}
	}
}

type changes struct{ b *strings.Builder }

func (c changes) RemoveHeader(name string) { fmt.Fprintf(c.b, " -%s", name) }
func (c changes) SetHeader(name, value string, add bool) {
	fmt.Fprintf(c.b, " %s=%q+%v", name, value, add)
}

// dump writes an exchange with its changes.
func dump(b *strings.Builder, e *exchange.Exchange) {
	req, resp := &e.Request, &e.Response
	fmt.Fprintf(b, "  %s %s %s %s %d changed %v %v %v %v\n", req.Method, req.Scheme, req.Authority, req.Path, resp.Status,
		req.MethodChanged(), req.AuthorityChanged(), req.PathChanged(), resp.StatusChanged())
	for _, h := range []*exchange.Headers{&req.Headers, &req.Trailers, &resp.Headers, &resp.Trailers} {
		for n, v := range h.All() {
			fmt.Fprintf(b, " %s=%q", n, v)
		}
		b.WriteString("; changes")
		h.VisitChanges(changes{b})
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "  bodies %q %v %q %v", req.Body.Bytes, req.Body.Changed, resp.Body.Bytes, resp.Body.Changed)
	if p := e.Principal; p != nil {
		fmt.Fprintf(b, " principal %#v", *p)
	}
	for k, v := range e.Metadata.All() {
		fmt.Fprintf(b, " %s=%#v", k, v)
	}
	for k, v := range e.Dynamic.All() {
		fmt.Fprintf(b, " dynamic %s=%#v", k, v)
	}
	b.WriteString("\n")
}
