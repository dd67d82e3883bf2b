package extproc_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/memory"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// empty waits until nothing is taken of the account any more.
func empty(t *testing.T, a *memory.Account) {
	t.Helper()
	for deadline := time.Now().Add(patience); a.Used() != 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are not given back", a.Used())
		}
	}
}

// TestBodiesThatDoNotFit proves that a body for which no memory is left is refused, in
// every mode and direction, and that nothing of it stays taken.
func TestBodiesThatDoNotFit(t *testing.T) {
	const limit = 100_000
	large, small := strings.Repeat("x", limit+1), strings.Repeat("x", limit*2/3)
	type messages []*extprocv3.ProcessingRequest
	for _, tt := range []struct {
		name, chain       string
		request, response modev3.ProcessingMode_BodySendMode
		// messages are those before the last one, which is refused.
		messages messages
		last     *extprocv3.ProcessingRequest
		silent   bool // messages but the first have no reply
	}{
		{"announced", "request_body=pass", wholeBody, none, nil, requestHeaders(false, "content-length", "100001"), false},
		{"not announced", "request_body=pass", wholeBody, none, messages{requestHeaders(false)}, requestBody(large, true), false},
		{"more than announced", "request_body=pass", wholeBody, none, messages{requestHeaders(false, "content-length", "5")}, requestBody(large, true), false},
		{"in pieces that are put together", "request_body=pass", fullDuplex, none,
			messages{requestHeaders(false), requestBody(small, false)}, requestBody(small, true), true},
		{"a piece by itself", "request_body_chunks=pass", modev3.ProcessingMode_STREAMED, none, messages{requestHeaders(false)}, requestBody(large, true), false},
		{"pieces that are held back", "request_body_chunks=hold", modev3.ProcessingMode_FULL_DUPLEX_STREAMED, none,
			messages{requestHeaders(false), requestBody(small, false)}, requestBody(small, false), true},
		{"decoded", "request_body=pass decode", wholeBody, none, messages{requestHeaders(false, "content-encoding", "gzip")}, requestBody(zipped(t, large), true), false},
		{"behind another that is kept", "request_body=pass response_body=pass", wholeBody, wholeBody,
			messages{requestHeaders(false), requestBody(small, true), responseHeaders(false)}, responseBody(small, true), false},
		{"of a response, announced", "response_body=pass", none, wholeBody, messages{requestHeaders(true)}, responseHeaders(false, "content-length", "100001"), false},
		{"of a response, not announced", "response_body=pass", none, wholeBody, messages{requestHeaders(true), responseHeaders(false)}, responseBody(large, true), false},
		{"headers", "request_headers=pass", none, none, nil, requestHeaders(true, "x-large", large), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := memory.NewAccount(limit)
			e := serve(t, oneChain(parseChain(t, tt.chain)), options{Memory: a})
			e.stamp = buffered
			s := e.open(t, "r").withModes(tt.request, tt.response)
			for _, m := range tt.messages {
				s.send(m)
				if !tt.silent {
					s.receive()
				}
			}
			s.send(tt.last)
			r := s.receive()
			for r.GetImmediateResponse() == nil {
				r = s.receive()
			}
			im := immediate(t, r, 503, "policy_engine.OVERLOADED")
			response := tt.last.GetResponseHeaders() != nil || tt.last.GetResponseBody() != nil
			if after := setHeaders(im.GetHeaders())["retry-after"]; (after == "") != response {
				t.Errorf("retry-after is %q", after)
			}
			s.ended()
			empty(t, a)
			if n := a.Refused(); n != 1 {
				t.Errorf("%d refusals are counted", n)
			}
			if p := a.TakePeak(); p > limit {
				t.Errorf("%d bytes were taken", p)
			}
		})
	}
}

// TestNothingIsReadOfABodyThatDoesNotFit proves that a body is refused before it is in
// memory: by its length, which comes first.
func TestNothingIsReadOfABodyThatDoesNotFit(t *testing.T) {
	for _, tt := range []struct {
		name, details string
		options       options
	}{
		{"no memory is left", "policy_engine.OVERLOADED", options{Memory: memory.NewAccount(1 << 20)}},
		{"it is over its own limit", "policy_engine.BODY_TOO_LARGE", options{BodyLimit: 1 << 20}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDirect(buffered, firstOf(t, wholeBody), marshal(t, requestBody(strings.Repeat("x", 9<<20), true)))
			f := newFramed(d, 16<<10)
			if err := handlerOf(newService(oneChain(parseChain(t, "request_body=pass")), tt.options))(f); err != nil {
				t.Fatal(err)
			}
			if n := len(d.replies); n != 2 || d.replies[1].GetImmediateResponse().GetDetails() != tt.details {
				t.Errorf("the replies are %v", d.replies)
			}
			if n := f.unread(); n < 8<<20 {
				t.Errorf("%d bytes of the body were not read", n)
			}
		})
	}
}

func firstOf(t testing.TB, body modev3.ProcessingMode_BodySendMode, pairs ...string) []byte {
	t.Helper()
	m := requestHeaders(false, pairs...)
	m.Attributes, m.ProtocolConfig = attributesFor("r"), &extprocv3.ProtocolConfiguration{RequestBodyMode: body}
	return marshal(t, m)
}

// TestWhatTheAccountHolds proves that what policies put in a body's place, and what is
// encoded again, is counted while the stream lives.
func TestWhatTheAccountHolds(t *testing.T) {
	for _, tt := range []struct {
		name, chain, coding, body string
		least                     int64
	}{
		{"a body", "request_body=pass response_headers=pass", "", strings.Repeat("x", 1000), 1000},
		{"and what takes its place", "request_body=twice response_headers=pass", "", strings.Repeat("x", 1000), 3000},
		{"and what is decoded", "request_body=pass decode response_headers=pass", "gzip", zipped(t, strings.Repeat("x", 5000)), 5000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := memory.NewAccount(1 << 20)
			e := serve(t, oneChain(parseChain(t, tt.chain)), options{Memory: a})
			e.stamp = buffered
			s := e.open(t, "r").withModes(wholeBody, none)
			s.call(requestHeaders(false, "content-encoding", tt.coding))
			s.call(requestBody(tt.body, true))
			if n := a.Used(); n < tt.least || n > 2*tt.least {
				t.Errorf("%d bytes are taken, want %d or little more", n, tt.least)
			}
			s.call(responseHeaders(true))
			s.ended()
			empty(t, a)
		})
	}
}

// TestTheAccountIsGivenBack proves that a stream gives back what its bodies took however
// it ends, and one that was taken over only after the call that held it up has
// returned: until then the policy has the body.
func TestTheAccountIsGivenBack(t *testing.T) {
	const body = "a body of some bytes"
	run := func(t *testing.T, chain string, change func(*chain, *direct)) (*memory.Account, *chain, error) {
		t.Helper()
		a := memory.NewAccount(1 << 20)
		c := parseChain(t, chain)
		d := newDirect(buffered, firstOf(t, wholeBody), marshal(t, requestBody(body, true)), marshal(t, responseHeaders(true)))
		if change != nil {
			change(c, d)
		}
		err := handlerOf(newService(oneChain(c), options{Memory: a}))(newFramed(d, 16<<10))
		return a, c, err
	}
	for _, tt := range []struct {
		name, chain string
		code        codes.Code
		change      func(*chain, *direct)
	}{
		{"passed", "request_body=pass response_headers=pass", codes.OK, nil},
		{"denied", "request_body=deny(403)", codes.OK, nil},
		{"a panic of the kernel", "request_body=panic", codes.Internal, nil},
		{"a client that went away", "request_body=pass", codes.Canceled, func(c *chain, d *direct) {
			c.gone = map[policy.Phase]bool{policy.RequestBody: true}
			ctx, cancel := context.WithCancel(d.ctx)
			cancel()
			d.ctx = ctx
		}},
		{"a message that is none", "request_body=pass response_headers=pass", codes.Internal, func(_ *chain, d *direct) {
			d.messages[2] = []byte{0xff}
		}},
		{"taken over", "request_body=stuck+deny(504)", codes.OK, func(c *chain, _ *direct) { close(c.release) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _, err := run(t, tt.chain, tt.change)
			if status.Code(err) != tt.code {
				t.Errorf("the stream ended with %v", err)
			}
			if a.TakePeak() < int64(len(body)) || a.Used() != 0 {
				t.Errorf("%d bytes are left", a.Used())
			}
		})
	}
	t.Run("a goroutine that a policy has ended", func(t *testing.T) {
		a := memory.NewAccount(1 << 20)
		e := serve(t, oneChain(parseChain(t, "request_body=exit+deny(504)")), options{Memory: a})
		e.stamp = buffered
		s := e.open(t, "r").withModes(wholeBody, none)
		s.call(requestHeaders(false))
		immediate(t, s.call(requestBody(body, true)), 504, "policy_engine.fake@v1.0.0.NO")
		s.cancel()
		empty(t, a)
	})
	t.Run("a call that has not returned", func(t *testing.T) {
		a := memory.NewAccount(1 << 20)
		c := parseChain(t, "request_body=stuck+deny(504)")
		e := serve(t, oneChain(c), options{Memory: a})
		e.stamp = buffered
		s := e.open(t, "r").withModes(wholeBody, none)
		s.call(requestHeaders(false))
		immediate(t, s.call(requestBody(body, true)), 504, "policy_engine.fake@v1.0.0.NO")
		s.cancel()
		for deadline := time.Now().Add(patience); c.ended.Load() == 0; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("the exchange has not ended")
			}
		}
		if n := a.Used(); n < int64(len(body)) {
			t.Errorf("%d bytes are taken while the policy has the body", n)
		}
		close(c.release)
		empty(t, a)
	})
}

// TestALargeBodyIsCopiedOnce proves what a large whole body costs in identity coding:
// its own size, and little more, all in all.
func TestALargeBodyIsCopiedOnce(t *testing.T) {
	if raceEnabled {
		t.Skip("pools lose what they hold under the race detector")
	}
	for _, tt := range []struct {
		name   string
		body   modev3.ProcessingMode_BodySendMode
		pieces int
		pairs  []string
		most   float64
	}{
		{"buffered", wholeBody, 1, nil, 1.05},
		{"in pieces, announced", fullDuplex, 160, []string{"content-length", "10485760"}, 1.5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const size = 10 << 20
			c := &chain{steps: map[policy.Phase]step{policy.RequestBody: func(_ context.Context, x *exchange.Exchange) *policy.ImmediateResponse {
				if len(x.Request.Body.Bytes) != size {
					t.Errorf("the policy sees %d bytes", len(x.Request.Body.Bytes))
				}
				return nil
			}}}
			messages := [][]byte{firstOf(t, tt.body, tt.pairs...)}
			for i := range tt.pieces {
				messages = append(messages, marshal(t, requestBody(strings.Repeat("x", size/tt.pieces), i == tt.pieces-1)))
			}
			handler := handlerOf(newService(oneChain(c), options{Memory: memory.NewAccount(4 * size)}))
			d := newDirect(&negotiate.Settings{RequestTrailers: true}, messages...)
			d.discard = true
			f := newFramed(d, 16<<10)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := handler(f); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if got := float64(after.TotalAlloc-before.TotalAlloc) / size; got > tt.most {
				t.Errorf("%.2f times its size, at most %.2f allowed", got, tt.most)
			}
		})
	}
}

// TestTheEngineReadsBelowRecvMsg proves that the kernel finds in grpc's stream what it
// reads messages from: RecvMsg would refuse this one, over the server's limit.
func TestTheEngineReadsBelowRecvMsg(t *testing.T) {
	e := serve(t, oneChain(parseChain(t, "request_body=pass")), options{BodyLimit: 32 << 20})
	e.stamp = buffered
	s := e.open(t, "r").withModes(wholeBody, none)
	s.call(requestHeaders(false))
	if r := s.call(requestBody(strings.Repeat("x", 17<<20), true)); r.GetRequestBody() == nil {
		t.Errorf("the reply is %v", r)
	}
	s.ended()
}
