package kernel_test

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"time"

	"policyengine.dev/runtime/inmemory"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

func replaceBody(definition, body string) string {
	return strings.Replace(definition, "BODY", body, 1)
}

func sets(name, value string) policy.HeaderMutation {
	return policy.HeaderMutation{Set: []policy.Header{{Name: name, Value: value}}}
}

func pieces(texts ...string) (all [][]byte) {
	for _, t := range texts {
		all = append(all, []byte(t))
	}
	return all
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// seesBody copies the whole body into x-seen.
func seesBody(c *policy.RequestContext) policy.RequestAction {
	return &policy.RequestMutation{Headers: sets("x-seen", string(c.Body()))}
}

// TestExchange proves what becomes of an exchange, by the phases in which a policy acts
// and by the form in which bodies come.
func TestExchange(t *testing.T) {
	upper := func(piece []byte, _ bool) policy.ChunkAction {
		return policy.ReplaceChunk(bytes.ToUpper(piece))
	}
	holds := func(piece []byte, last bool) policy.ChunkAction {
		if last {
			return nil
		}
		return policy.Hold()
	}
	plain := &inmemory.Response{Status: 200, Headers: []exchange.Field{{Name: "Content-Length", Value: "5"}}, Body: pieces("hello")}
	for _, tt := range []struct {
		name     string
		policy   behaviour
		decoded  bool
		request  inmemory.Request
		response *inmemory.Response
		// want is method, path, x-seen, body and trailers of what the upstream gets.
		want string
		// client is status, content-length and body of what the client gets.
		client string
	}{
		{
			name: "headers pass their changes on and bodies go past the policy",
			policy: behaviour{headers: func(*policy.RequestContext) policy.RequestAction {
				return &policy.RequestMutation{Headers: sets("x-seen", "1"), Path: "/new"}
			}},
			request: inmemory.Request{Path: "/old?q=1", Body: pieces("a", "b"), Trailers: []exchange.Field{{Name: "x-sum", Value: "1"}}}, response: plain,
			want: "POST /new?q=1 [1;] a|b [1;]", client: "200 [5;] hello",
		},
		{
			name: "a whole body is gathered from its pieces", policy: behaviour{body: seesBody},
			request: inmemory.Request{Path: "/", Body: pieces("one", "two", "")}, response: plain,
			want: "POST / [onetwo;] onetwo []", client: "200 [5;] hello",
		},
		{
			name: "also if trailers end it", policy: behaviour{body: seesBody},
			request: inmemory.Request{Path: "/", Body: pieces("one"), Trailers: []exchange.Field{{Name: "x-sum", Value: "1"}}}, response: plain,
			want: "POST / [one;] one [1;]", client: "200 [5;] hello",
		},
		{
			name: "a message without a body has an empty one", policy: behaviour{body: seesBody},
			request: inmemory.Request{Path: "/"}, response: plain,
			want: "POST / [;]  []", client: "200 [5;] hello",
		},
		{
			name: "a policy gives a body to a message without one",
			policy: behaviour{body: func(*policy.RequestContext) policy.RequestAction {
				return &policy.RequestMutation{Body: policy.NewBody([]byte("new"))}
			}},
			request: inmemory.Request{Path: "/"}, response: plain,
			want: "POST / [] new []", client: "200 [5;] hello",
		},
		{
			name: "pieces are replaced one by one", policy: behaviour{chunk: upper},
			request: inmemory.Request{Path: "/", Body: pieces("a", "b")}, response: plain,
			want: "POST / [] A|B []", client: "200 [5;] hello",
		},
		{
			name: "pieces that are held back go before trailers", policy: behaviour{chunk: holds, holds: true},
			request: inmemory.Request{Path: "/", Body: pieces("a", "b"), Trailers: []exchange.Field{{Name: "x-sum", Value: "1"}}}, response: plain,
			want: "POST / [] ab [1;]", client: "200 [5;] hello",
		},
		{
			name: "a compressed body is plain to the policy and goes on as it came", policy: behaviour{body: seesBody}, decoded: true,
			request:  inmemory.Request{Path: "/", Headers: []exchange.Field{{Name: "content-encoding", Value: "gzip"}}, Body: pieces(zipped(t, "secret"))},
			response: plain, want: "POST / [secret;] " + zipped(t, "secret") + " []", client: "200 [5;] hello",
		},
		{
			name:    "a status without a body drops it and its length",
			policy:  behaviour{responseHeaders: func(*policy.ResponseContext) policy.ResponseAction { return &policy.ResponseMutation{Status: 204} }},
			request: inmemory.Request{Path: "/"}, response: plain,
			want: "POST / []  []", client: "204 [] ",
		},
		{
			name: "a body policy replaces the response's body and its length",
			policy: behaviour{responseBody: func(*policy.ResponseContext) policy.ResponseAction {
				return &policy.ResponseMutation{Body: policy.NewBody([]byte("other body"))}
			}},
			request: inmemory.Request{Path: "/"}, response: plain,
			want: "POST / []  []", client: "200 [10;] other body",
		},
		{
			name:    "pieces of a response lose the length that they may change",
			policy:  behaviour{responseChunk: upper},
			request: inmemory.Request{Path: "/"}, response: plain,
			want: "POST / []  []", client: "200 [] HELLO",
		},
		{
			name:    "pieces that are only read keep their length",
			policy:  behaviour{responseChunk: func([]byte, bool) policy.ChunkAction { return nil }, reads: true},
			request: inmemory.Request{Path: "/"}, response: plain,
			want: "POST / []  []", client: "200 [5;] hello",
		},
		{
			name:    "a policy that only reads pieces and replaces one errs, and nothing of it goes on",
			policy:  behaviour{chunk: upper, reads: true},
			request: inmemory.Request{Path: "/", Headers: []exchange.Field{{Name: "content-length", Value: "1"}}, Body: pieces("a")}, response: plain,
			want: "POST / []  []", client: `500 [] {"title":"Internal Server Error","status":500,"detail":"A policy could not decide about this request.","reason":"POLICY_ERROR"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			result := newBench(t, &tt.policy, tt.decoded, inmemory.Options{}, nil).do(t, tt.request, tt.response)
			q, s := result.Request, result.Response
			if q == nil || s == nil {
				t.Fatalf("the upstream got %v, the client %v", q, s)
			}
			if got := strings.Join([]string{q.Method, q.Path, "[" + value(q.Headers, "x-seen") + "]", text(q.Body), "[" + value(q.Trailers, "x-sum") + "]"}, " "); got != tt.want {
				t.Errorf("the upstream got %q, want %q", got, tt.want)
			}
			if got := strings.Join([]string{itoa(s.Status), "[" + value(s.Headers, "content-length") + "]", text(s.Body)}, " "); got != tt.client {
				t.Errorf("the client got %q, want %q", got, tt.client)
			}
		})
	}
}

// TestAnswers proves of each place where an exchange can be answered that nothing more of
// it goes on, and that a refusal of the kernel's own is counted by its cause.
func TestAnswers(t *testing.T) {
	passes := func(*policy.RequestContext) policy.RequestAction { return nil }
	denies := func(*policy.RequestContext) policy.RequestAction { return policy.Reject(403, "NO", "") }
	headers := func(pairs ...string) (all []exchange.Field) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, exchange.Field{Name: pairs[i], Value: pairs[i+1]})
		}
		return all
	}
	small := inmemory.Options{Terms: kernel.Terms{RequestHeaders: kernel.Size{Count: 6, Bytes: 200}}}
	for _, tt := range []struct {
		name    string
		policy  behaviour
		decoded bool
		options inmemory.Options
		request inmemory.Request
		details string
		// kind is what a refusal of the kernel's own counts as; sent says that the
		// request's headers had gone on.
		kind telemetry.Cause
		own  bool
		sent bool
	}{
		{name: "a policy at the headers", policy: behaviour{headers: denies}, details: "scripted@v1.0.0.NO"},
		{name: "a policy at the whole body", policy: behaviour{body: denies}, request: inmemory.Request{Body: pieces("a", "b")}, details: "scripted@v1.0.0.NO"},
		{name: "a policy at a piece, with the headers gone", policy: behaviour{chunk: func([]byte, bool) policy.ChunkAction { return policy.Reject(403, "NO", "") }},
			request: inmemory.Request{Body: pieces("a")}, details: "scripted@v1.0.0.NO", sent: true},
		{name: "a policy at the trailers, with the rest gone", policy: behaviour{trailers: denies}, request: inmemory.Request{Trailers: headers("x-sum", "1")}, details: "scripted@v1.0.0.NO", sent: true},
		{name: "a body over the limit", policy: behaviour{body: passes}, request: inmemory.Request{Body: pieces(strings.Repeat("x", 60), strings.Repeat("x", 60))},
			details: "BODY_TOO_LARGE", own: true, kind: telemetry.LengthReceived},
		{name: "a length over the limit", policy: behaviour{body: passes}, request: inmemory.Request{Headers: headers("content-length", "101"), Body: pieces("x")},
			details: "BODY_TOO_LARGE", own: true, kind: telemetry.LengthAnnounced},
		{name: "a bomb", policy: behaviour{body: passes}, decoded: true, request: inmemory.Request{Headers: headers("content-encoding", "gzip"), Body: pieces(zipped(t, strings.Repeat("0", 5000)))},
			details: "BODY_TOO_LARGE", own: true, kind: telemetry.LengthDecoded},
		{name: "an unknown coding", policy: behaviour{body: passes}, decoded: true, request: inmemory.Request{Headers: headers("content-encoding", "rot13"), Body: pieces("x")},
			details: "BODY_UNDECODABLE", own: true, kind: telemetry.Undecodable},
		{name: "an upgrade", policy: behaviour{body: passes}, request: inmemory.Request{Headers: headers("upgrade", "websocket"), Body: pieces("x")},
			details: "UPGRADE_NOT_SUPPORTED", own: true, kind: telemetry.Tunnel},
		{name: "headers that leave no room", policy: behaviour{headers: func(*policy.RequestContext) policy.RequestAction {
			return &policy.RequestMutation{Headers: sets("x-a", "1")}
		}},
			options: small, request: inmemory.Request{Headers: headers("x-1", "1", "x-2", "1", "x-3", "1", "x-4", "1", "x-5", "1")}, details: "HEADERS_TOO_LARGE", own: true, kind: telemetry.HeaderCount},
		{name: "a change that the proxy's rules forbid", policy: behaviour{headers: func(*policy.RequestContext) policy.RequestAction {
			return &policy.RequestMutation{Headers: sets("x-a", "1")}
		}},
			options: inmemory.Options{Terms: kernel.Terms{Rules: nothing{}}}, details: "FILTER_CANNOT_SERVE_CHAIN", own: true, kind: telemetry.ChangeForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.request.Path = "/"
			b := newBench(t, &tt.policy, tt.decoded, tt.options, nil)
			result := b.do(t, tt.request, &inmemory.Response{Status: 200})
			if result.Answer == nil || result.Answer.Details != "policy_engine."+tt.details || result.Response.Status != result.Answer.Response.Status {
				t.Fatalf("the answer is %+v and the client got %+v, want %s", result.Answer, result.Response, tt.details)
			}
			if sent := result.Request != nil; sent != tt.sent {
				t.Errorf("the request's headers went on: %v, want %v", sent, tt.sent)
			}
			if n := b.streams.Refusals[tt.kind].Load(); tt.own && n != 1 {
				t.Errorf("the refusal was counted %d times", n)
			}
		})
	}
}

// nothing lets no header be changed.
type nothing struct{}

func (nothing) MayChange(string) bool { return false }

// TestRouteWithoutAChain proves that a request without a chain is refused, with a record,
// and is not if the configuration says so.
func TestRouteWithoutAChain(t *testing.T) {
	b := newBench(t, &behaviour{headers: func(*policy.RequestContext) policy.RequestAction { return nil }}, false, inmemory.Options{}, nil)
	result, err := b.carrier.Do(t.Context(), inmemory.Request{Route: "other", Method: "GET", Path: "/"}, func(*inmemory.Request) *inmemory.Response {
		t.Error("the upstream was called")
		return nil
	})
	if err != nil || result.Answer == nil || result.Answer.Details != "policy_engine.ROUTE_UNKNOWN" || result.Request != nil {
		t.Errorf("the result is %+v, %v", result, err)
	}
	if n := b.streams.Refusals[telemetry.RouteWithoutChain].Load(); n != 1 {
		t.Errorf("the refusal was counted %d times", n)
	}
}

// TestObserved proves that nothing that a chain decides counts for an exchange that is only
// shown to it.
func TestObserved(t *testing.T) {
	b := newBench(t, &behaviour{headers: func(*policy.RequestContext) policy.RequestAction { return policy.Reject(403, "NO", "") }}, false, inmemory.Options{Observed: true}, nil)
	result := b.do(t, inmemory.Request{Path: "/", Body: pieces("a")}, &inmemory.Response{Status: 200})
	if result.Answer != nil || result.Request == nil || text(result.Request.Body) != "a" || result.Response.Status != 200 {
		t.Errorf("the result is %+v", result)
	}
}

// TestAPolicyThatDoesNotReturn proves that an exchange ends although a policy holds up its
// goroutine, and that its bodies stay accounted for until the policy returns.
func TestAPolicyThatDoesNotReturn(t *testing.T) {
	release := make(chan struct{})
	b := newBench(t, &behaviour{body: func(*policy.RequestContext) policy.RequestAction { <-release; return nil }}, false, inmemory.Options{},
		func(c *worker.ChainSpec) { c.Policies[0].Timeout = time.Millisecond })
	result, err := b.carrier.Do(t.Context(), inmemory.Request{Route: "r", Method: "POST", Path: "/", Body: pieces("one", "two")}, nil)
	if err != nil || result.Answer == nil || result.Answer.Details != "policy_engine.scripted@v1.0.0.POLICY_TIMEOUT" || result.Request != nil {
		t.Errorf("the result is %+v, %v", result, err)
	}
	if b.account.Used() == 0 {
		t.Error("the body was given back while a policy could look at it")
	}
	close(release)
	eventually(t, func() bool { return b.account.Used() == 0 }, "the body is not given back")
}
