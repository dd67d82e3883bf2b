package policytest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

var allPhases = policy.Phases(
	policy.RequestHeaders, policy.RequestBody, policy.RequestBodyChunks, policy.RequestTrailers,
	policy.ResponseHeaders, policy.ResponseBody, policy.ResponseBodyChunks, policy.ResponseTrailers)

// TestPhases proves which phases run for a message, in which order, and what each
// sees: no body before the body's phase, no trailers before theirs.
func TestPhases(t *testing.T) {
	full := policytest.Request{Method: "POST", Target: "/x", Body: "abc", Trailers: policytest.Headers("t", "1")}
	bare := policytest.Request{}
	for _, tt := range []struct {
		name    string
		phases  policy.PhaseSet
		request policytest.Request
		resp    policytest.Response
		want    []string
	}{
		{"all phases, with all that a message can have", allPhases, full, policytest.Response{Status: 201, Body: "de", Trailers: policytest.Headers("u", "1")}, []string{
			`request_headers: POST /x body="" trailers=0`,
			`request_body: POST /x body="abc" trailers=0`,
			`request_body_chunks: "abc" last=true state=<nil>`,
			`request_trailers: POST /x body="abc" trailers=1`,
			`response_headers: 201 body="" trailers=0`,
			`response_body: 201 body="de" trailers=0`,
			`response_body_chunks: "de" last=true state=<nil>`,
			`response_trailers: 201 body="de" trailers=1`,
		}},
		{"a message without body and trailers: the body phases run once", allPhases, bare, policytest.Response{}, []string{
			`request_headers: GET / body="" trailers=0`,
			`request_body: GET / body="" trailers=0`,
			`request_body_chunks: "" last=true state=<nil>`,
			`response_headers: 200 body="" trailers=0`,
			`response_body: 200 body="" trailers=0`,
			`response_body_chunks: "" last=true state=<nil>`,
		}},
		{"pieces, where nobody wants the whole", policy.Phases(policy.RequestBodyChunks, policy.ResponseBodyChunks),
			policytest.Request{Chunks: []string{"a", "", "b"}}, policytest.Response{Chunks: []string{"c", "d"}}, []string{
				`request_body_chunks: "a" last=false state=<nil>`,
				`request_body_chunks: "" last=false state=<nil>`,
				`request_body_chunks: "b" last=true state=<nil>`,
				`response_body_chunks: "c" last=false state=<nil>`,
				`response_body_chunks: "d" last=true state=<nil>`,
			}},
		{"one piece, where somebody wants the whole", policy.Phases(policy.RequestBody, policy.RequestBodyChunks),
			policytest.Request{Chunks: []string{"a", "b"}}, policytest.Response{}, []string{
				`request_body: GET / body="ab" trailers=0`,
				`request_body_chunks: "ab" last=true state=<nil>`,
			}},
		{"trailers alone", policy.Phases(policy.RequestTrailers, policy.ResponseTrailers), full, policytest.Response{}, []string{
			`request_trailers: POST /x body="" trailers=1`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{phases: tt.phases}
			newScripted(t, s).Send(t, tt.request).Respond(t, tt.resp)
			if diff := cmp.Diff(tt.want, s.saw); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWhatOthersSee proves that an exchange shows what upstream, client and proxy get.
func TestWhatOthersSee(t *testing.T) {
	me := &policy.Principal{Subject: "me"}
	s := &script{phases: allPhases.With(0) &^ policy.Phases(policy.RequestBodyChunks, policy.ResponseBodyChunks)}
	s.request = func(p policy.Phase, _ *policy.RequestContext) (policy.RequestAction, error) {
		switch p {
		case policy.RequestHeaders:
			return &policy.RequestMutation{Method: "PUT", Authority: "other", Path: "/new", Principal: me,
				Headers:         policy.HeaderMutation{Remove: []string{"A"}, Append: policytest.Headers("b", "2")},
				Metadata:        []policy.Entry{{Key: "m", Value: 1}},
				DynamicMetadata: []policy.Entry{{Key: "d", Value: "x"}}}, nil
		case policy.RequestBody:
			return &policy.RequestMutation{Body: policy.NewBody([]byte("new body"))}, nil
		}
		return &policy.RequestMutation{Trailers: policy.HeaderMutation{Set: policytest.Headers("t", "2")}}, nil
	}
	s.respond = func(p policy.Phase, c *policy.ResponseContext) (policy.ResponseAction, error) {
		if p == policy.ResponseBody {
			return &policy.ResponseMutation{Body: policy.NewBody(nil), Status: 204}, nil
		}
		if _, ok := c.Metadata("m"); !ok {
			return nil, errors.New("the metadata is lost")
		}
		return nil, nil
	}
	x := newScripted(t, s).Send(t, policytest.Request{Target: "/old?q=1", Body: "old", Headers: policytest.Headers("A", "1", "b", "1"), Trailers: policytest.Headers("T", "1")})
	x.WantPassed(t)
	if r := x.Request; r.Method() != "PUT" || r.Authority() != "other" || r.Target() != "/new?q=1" || r.Principal() != me || r.Trailers().Get("t") != "2" {
		t.Errorf("the request is %s %s %s, principal %v", r.Method(), r.Authority(), r.Target(), r.Principal())
	}
	if diff := cmp.Diff([]string{"remove a", "add b: 2"}, x.RequestChanges()); diff != "" {
		t.Error(diff)
	}
	if v, ok := x.Dynamic("d"); v != "x" || !ok || x.RequestBody() != "new body" {
		t.Errorf("dynamic metadata %v, body %q", v, x.RequestBody())
	}
	x.Respond(t, policytest.Response{Body: "old", Headers: policytest.Headers("c", "3")})
	if x.Response.Status() != 204 || x.ResponseBody() != "" || len(x.ResponseChanges()) != 0 || x.Response.Header("C") != "3" {
		t.Errorf("the response is %d %q", x.Response.Status(), x.ResponseBody())
	}
	if len(x.Steps) != 5 || x.Steps[1].Phase != policy.RequestBody || x.Steps[3].Action != nil {
		t.Errorf("the steps are %v", x.Steps)
	}
}

func TestEarlierPoliciesAndAttributes(t *testing.T) {
	s := &script{phases: policy.Phases(policy.RequestHeaders)}
	s.request = func(_ policy.Phase, c *policy.RequestContext) (policy.RequestAction, error) {
		a, _ := c.Attribute("source.address")
		m, _ := c.Metadata("m")
		if a != "192.0.2.1" || m != 2 || c.Principal().Subject != "me" || c.Route() != "r" || c.Scheme() != "http" || c.Authority() != "h" {
			return nil, errors.New("something is not there")
		}
		return nil, nil
	}
	newScripted(t, s).Send(t, policytest.Request{Scheme: "http", Authority: "h", Route: "r", Principal: &policy.Principal{Subject: "me"},
		Metadata: map[string]any{"m": 2}, Attributes: map[string]any{"source.address": "192.0.2.1"}})
}

// TestAnAnswerEndsIt proves that no later phase runs after an immediate response,
// whichever phase gives it.
func TestAnAnswerEndsIt(t *testing.T) {
	ir := policy.Reject(403, "NO", "")
	for _, last := range allPhases.List() {
		s := &script{phases: allPhases}
		switch {
		case last == policy.RequestBodyChunks, last == policy.ResponseBodyChunks:
			s.chunk = func(p policy.Phase, _ *policy.Chunk) (policy.ChunkAction, error) {
				if p == last {
					return ir, nil
				}
				return nil, nil
			}
		case last.IsResponse():
			s.respond = func(p policy.Phase, _ *policy.ResponseContext) (policy.ResponseAction, error) {
				if p == last {
					return ir, nil
				}
				return nil, nil
			}
		default:
			s.request = func(p policy.Phase, _ *policy.RequestContext) (policy.RequestAction, error) {
				if p == last {
					return ir, nil
				}
				return nil, nil
			}
		}
		x := newScripted(t, s).Send(t, policytest.Request{Trailers: policytest.Headers("t", "1")})
		if last.IsResponse() {
			x.WantPassed(t)
			x.Respond(t, policytest.Response{Trailers: policytest.Headers("t", "1")})
		}
		x.WantRejected(t, 403, "NO")
		if len(s.saw) != int(last)+1 {
			t.Errorf("an answer in %v: the policy saw %q", last, s.saw)
		}
		wantFailure(t, "the policy answered 403 NO", x.WantPassed)
		if !last.IsResponse() {
			wantFailure(t, "there is no response: the policy has answered 403 NO", func(t testing.TB) { x.Respond(t, policytest.Response{}) })
		}
	}
}

func TestChunks(t *testing.T) {
	count := func(c *policy.Chunk) int { n, _ := c.State.(int); c.State = n + 1; return n }
	for _, tt := range []struct {
		name   string
		pieces []string
		chunk  func(policy.Phase, *policy.Chunk) (policy.ChunkAction, error)
		out    []string
		last   string
	}{
		{"each is replaced, and the state stays", []string{"a", "b"}, func(_ policy.Phase, c *policy.Chunk) (policy.ChunkAction, error) {
			return policy.ReplaceChunk([]byte{byte('0' + count(c))}), nil
		}, []string{"0", "1"}, `"b" last=true state=1`},
		{"what is held comes in front of the next", []string{"a", "b", "c", "d"}, func(_ policy.Phase, c *policy.Chunk) (policy.ChunkAction, error) {
			if len(c.Data) < 3 && !c.Last {
				return policy.Hold(), nil
			}
			return nil, nil
		}, []string{"", "", "abc", "d"}, `"d" last=true state=<nil>`},
		{"a replacement takes the place of what was held too", []string{"a", "b"}, func(_ policy.Phase, c *policy.Chunk) (policy.ChunkAction, error) {
			if c.Last {
				return policy.ReplaceChunk(nil), nil
			}
			return policy.Hold(), nil
		}, []string{"", ""}, `"ab" last=true state=<nil>`},
		{"a policy that changes its chunk changes nothing", []string{"a"}, func(_ policy.Phase, c *policy.Chunk) (policy.ChunkAction, error) {
			c.Data, c.Last = []byte("z"), false
			return nil, nil
		}, []string{"a"}, `"a" last=true state=<nil>`},
	} {
		for _, phase := range []policy.Phase{policy.RequestBodyChunks, policy.ResponseBodyChunks} {
			t.Run(tt.name+", "+phase.String(), func(t *testing.T) {
				s := &script{phases: policy.Phases(phase), holds: true, chunk: tt.chunk}
				p := newScripted(t, s)
				var got []string
				var body string
				if phase.IsResponse() {
					x := p.Respond(t, policytest.Response{Chunks: tt.pieces})
					got, body = x.ResponseChunks, x.ResponseBody()
				} else {
					x := p.Send(t, policytest.Request{Chunks: tt.pieces})
					got, body = x.RequestChunks, x.RequestBody()
				}
				want := ""
				for _, o := range tt.out {
					want += o
				}
				if diff := cmp.Diff(tt.out, got); diff != "" || body != want {
					t.Errorf("body %q, pieces %s", body, diff)
				}
				if got := s.saw[len(s.saw)-1]; got != phase.String()+": "+tt.last {
					t.Errorf("the last piece was %s, want %s", got, tt.last)
				}
			})
		}
	}
}

type embedsAnAnswer struct{ *policy.ImmediateResponse }

// TestErrors proves that whatever a policy does wrong fails the test that does not
// expect it, and says why.
func TestErrors(t *testing.T) {
	boom := errors.New("boom")
	request := func(a policy.RequestAction, err error) *script {
		return &script{phases: policy.Phases(policy.RequestHeaders),
			request: func(policy.Phase, *policy.RequestContext) (policy.RequestAction, error) { return a, err }}
	}
	response := func(a policy.ResponseAction, err error) *script {
		return &script{phases: policy.Phases(policy.ResponseHeaders),
			respond: func(policy.Phase, *policy.ResponseContext) (policy.ResponseAction, error) { return a, err }}
	}
	chunk := func(holds bool, a policy.ChunkAction, err error) *script {
		return &script{phases: policy.Phases(policy.RequestBodyChunks), holds: holds,
			chunk: func(policy.Phase, *policy.Chunk) (policy.ChunkAction, error) { return a, err }}
	}
	for _, tt := range []struct {
		name   string
		script *script
		want   string
	}{
		{"an error", request(nil, boom), "request_headers: the policy gave an error: boom"},
		{"an error of a response phase", response(nil, boom), "response_headers: the policy gave an error: boom"},
		{"an error of a chunk phase", chunk(false, nil, boom), "request_body_chunks: chunk 0: the policy gave an error: boom"},
		{"a mutation that cannot be", request(&policy.RequestMutation{Body: policy.NewBody(nil)}, nil), "the action cannot be applied: body:"},
		{"a response's mutation that cannot be", response(&policy.ResponseMutation{Status: 99}, nil), "status: 99"},
		{"an answer that cannot be", request(&policy.ImmediateResponse{}, nil), "status: 0"},
		{"an answer that is nil", request((*policy.ImmediateResponse)(nil), nil), "the immediate response is nil"},
		{"an answer within another type", request(embedsAnAnswer{policy.Reject(403, "NO", "")}, nil), "embedsAnAnswer"},
		{"the same among chunks", chunk(false, embedsAnAnswer{policy.Reject(403, "NO", "")}, nil), "embedsAnAnswer"},
		{"holding unasked", chunk(false, policy.Hold(), nil), "without implementing policy.ChunkHolder"},
		{"replacing what it only reads", &script{phases: policy.Phases(policy.RequestBodyChunks), reads: true,
			chunk: func(policy.Phase, *policy.Chunk) (policy.ChunkAction, error) { return policy.ReplaceChunk(nil), nil }}, "replaces a chunk, and says by policy.ChunkReader"},
		{"holding what it only reads", &script{phases: policy.Phases(policy.RequestBodyChunks), reads: true, holds: true,
			chunk: func(policy.Phase, *policy.Chunk) (policy.ChunkAction, error) { return policy.Hold(), nil }}, "holds a chunk, and says by policy.ChunkReader"},
		{"holding the last", &script{phases: policy.Phases(policy.RequestBodyChunks), holds: true,
			chunk: func(_ policy.Phase, c *policy.Chunk) (policy.ChunkAction, error) { return policy.Hold(), nil }}, "holds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newScripted(t, tt.script, policytest.WithHoldLimit(3))
			r := policytest.Request{Chunks: []string{"ab"}}
			if !tt.script.phases.HasResponse() {
				wantFailure(t, tt.want, func(t testing.TB) { p.Send(t, r) })
				wantFailure(t, "", func(testing.TB) { _ = p.SendError(t, r) })
			} else {
				wantFailure(t, tt.want, func(t testing.TB) { p.Respond(t, policytest.Response{}) })
				_ = p.Send(t, r).RespondError(t, policytest.Response{})
			}
		})
	}
	t.Run("holding more than the limit", func(t *testing.T) {
		p := newScripted(t, chunk(true, policy.Hold(), nil), policytest.WithHoldLimit(3))
		wantFailure(t, "holds 4 bytes, and 3 are allowed", func(t testing.TB) {
			p.Send(t, policytest.Request{Chunks: []string{"ab", "cd", "e"}})
		})
	})
	t.Run("no error where one is expected", func(t *testing.T) {
		p := newScripted(t, &script{phases: allPhases})
		wantFailure(t, "the policy gave no error", func(t testing.TB) { _ = p.SendError(t, policytest.Request{}) })
		wantFailure(t, "the policy gave no error", func(t testing.TB) { _ = p.Send(t, policytest.Request{}).RespondError(t, policytest.Response{}) })
	})
	t.Run("a second response", func(t *testing.T) {
		x := newScripted(t, &script{}).Respond(t, policytest.Response{})
		wantFailure(t, "there was a response already", func(t testing.TB) { x.Respond(t, policytest.Response{}) })
	})
	t.Run("wrong hopes", func(t *testing.T) {
		x := newScripted(t, &script{}).Send(t, policytest.Request{})
		wantFailure(t, "the message passed, want 401 NO", func(t testing.TB) { x.WantRejected(t, 401, "NO") })
		x = newScripted(t, request(policy.Reject(403, "NO", ""), nil)).Send(t, policytest.Request{})
		wantFailure(t, "the policy answered 403 NO, want 401 NO", func(t testing.TB) { x.WantRejected(t, 401, "NO") })
		wantFailure(t, "the policy answered 403 NO, want 403 YES", func(t testing.TB) { x.WantRejected(t, 403, "YES") })
	})
}

// TestANilMutationIsNone proves that a typed nil, which Go makes easily, is no change.
func TestANilMutationIsNone(t *testing.T) {
	s := &script{phases: policy.Phases(policy.RequestHeaders, policy.ResponseHeaders)}
	s.request = func(policy.Phase, *policy.RequestContext) (policy.RequestAction, error) {
		return (*policy.RequestMutation)(nil), nil
	}
	s.respond = func(policy.Phase, *policy.ResponseContext) (policy.ResponseAction, error) {
		return (*policy.ResponseMutation)(nil), nil
	}
	x := newScripted(t, s).Send(t, policytest.Request{})
	x.Respond(t, policytest.Response{})
	x.WantPassed(t)
}

func TestShadowChangesNothing(t *testing.T) {
	s := &script{phases: policy.Phases(policy.RequestHeaders, policy.RequestBodyChunks)}
	s.request = func(_ policy.Phase, c *policy.RequestContext) (policy.RequestAction, error) {
		if !c.Shadow() {
			return nil, errors.New("the policy is not told")
		}
		if c.Header("bad") != "" {
			return &policy.RequestMutation{Path: "no slash"}, nil
		}
		if c.Header("deny") != "" {
			return policy.Reject(403, "NO", ""), nil
		}
		return &policy.RequestMutation{Path: "/new", Principal: &policy.Principal{}, Metadata: []policy.Entry{{Key: "k"}}}, nil
	}
	s.chunk = func(policy.Phase, *policy.Chunk) (policy.ChunkAction, error) { return policy.ReplaceChunk(nil), nil }
	p := newScripted(t, s, policytest.InShadow())
	x := p.Send(t, policytest.Request{Chunks: []string{"a", "b"}})
	x.WantPassed(t)
	if _, ok := x.Request.Metadata("k"); ok || x.Request.Target() != "/" || x.Request.Principal() != nil || x.RequestBody() != "ab" {
		t.Error("something has changed")
	}
	if m, ok := x.Steps[0].Action.(*policy.RequestMutation); !ok || m.Path != "/new" || len(x.Steps) != 3 {
		t.Errorf("the actions are not recorded: %v", x.Steps)
	}
	p.Send(t, policytest.Request{Headers: policytest.Headers("deny", "1")}).WantPassed(t)
	if err := p.SendError(t, policytest.Request{Headers: policytest.Headers("bad", "1")}); err == nil {
		t.Error("a mutation that cannot be applied passes in shadow mode")
	}
}

func TestNew(t *testing.T) {
	def := policytest.WithDefinition("testdata/v1.0.0/policy.yaml")
	t.Run("defaults are the schema's", func(t *testing.T) {
		p := policytest.New(t, (&script{}).builder(), `limit: 7`, def)
		if got := p.Instance.(*scripted).params; got.Name != "from the schema" || got.Limit != 7 {
			t.Errorf("the parameters are %+v", got)
		}
	})
	for _, tt := range []struct{ name, params, want string }{
		{"what the schema refuses, with its line", "name: x\nlimit: 0", "params:2:8: limit: "},
		{"what the constructor refuses", `name: bad`, "name: it is bad"},
		{"what is no YAML", `name: [`, "params:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantFailure(t, tt.want, func(t testing.TB) { policytest.New(t, (&script{}).builder(), tt.params, def) })
			if err := policytest.NewError(t, (&script{}).builder(), tt.params, def); err == nil {
				t.Error("accepted")
			}
		})
	}
	t.Run("good parameters where bad ones are expected", func(t *testing.T) {
		s := &script{}
		wantFailure(t, "the parameters are accepted", func(t testing.TB) { _ = policytest.NewError(t, s.builder(), `{}`, def) })
		if s.closed != 1 {
			t.Errorf("closed %d times", s.closed)
		}
	})
	t.Run("no policy.yaml", func(t *testing.T) {
		wantFailure(t, "use WithDefinition", func(t testing.TB) { policytest.New(t, (&script{}).builder(), `{}`) })
	})
	t.Run("started and closed", func(t *testing.T) {
		s := &script{}
		started := 0
		s.start = func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); !ok {
				return errors.New("no deadline")
			}
			started++
			return nil
		}
		t.Run("", func(t *testing.T) {
			newScripted(t, s)
			newScripted(t, s, policytest.WithoutStart())
		})
		if started != 1 || s.closed != 2 {
			t.Errorf("started %d times, closed %d times", started, s.closed)
		}
	})
	t.Run("a start that fails", func(t *testing.T) {
		s := &script{start: func(context.Context) error { return errors.New("out of order") }}
		wantFailure(t, "starting the policy: out of order", func(t testing.TB) { newScripted(t, s) })
	})
}

func TestHeadersNeedsPairs(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a name without value is taken")
		}
	}()
	odd := strings.Fields("a 1 b")
	policytest.Headers(odd...)
}
