package policytest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// Exchange is a request and its response on their way through one policy. Not safe
// for concurrent use.
type Exchange struct {
	// Request is the request as the policy has left it: what the upstream, and
	// later policies, see. Its Body is nil where no whole-body phase has run:
	// see [Exchange.RequestBody].
	Request policy.RequestContext
	// Response is the response as the policy has left it: what the client sees.
	Response policy.ResponseContext
	// Immediate is the policy's answer in the upstream's place, or nil where
	// the request, or the response, went on.
	Immediate *policy.ImmediateResponse
	// Skipped is the policy's answer that skips the rest of the chain, or nil.
	Skipped *policy.SkipRest
	// Steps are the calls of the policy, in order.
	Steps []Step
	// RequestChunks and ResponseChunks are the pieces that left a chunk policy,
	// one for each that came; a piece that was held back is empty.
	RequestChunks, ResponseChunks []string

	policy            *Policy
	data              *exchange.Exchange
	request, response body
	requestTrailers   []policy.Header
	answered          bool
	// state is what the policy keeps for the exchange.
	state any
	// trace is told the contexts that the policy gets.
	trace func(*policy.RequestContext, *policy.ResponseContext)
}

// Step is one call of a policy.
type Step struct {
	Phase policy.Phase
	// Action is a [*policy.RequestMutation], a [*policy.SkipRest], a [*policy.ResponseMutation], an
	// [*policy.ImmediateResponse], a [policy.ChunkAction], or nil.
	Action any
	// Annotations are what the policy has told the operator, as a decision record has
	// them, and Spans what it has told the trace.
	Annotations []slog.Attr
	Spans       []exchange.Span
}

// Annotation returns the annotation of that key in any of the calls, the last one where
// there are several. A string is a string, a whole number an int64 (or uint64), and so on.
func (x *Exchange) Annotation(key string) (value any, ok bool) {
	for i := range x.Steps {
		for _, a := range x.Steps[i].Annotations {
			if a.Key == key {
				value, ok = a.Value.Any(), true
			}
		}
	}
	return value, ok
}

// Send takes a request through the policy's request phases: headers, body (whole or
// in pieces), and trailers where there are some. An error of the policy, or an action
// that cannot be applied, fails the test.
func (p *Policy) Send(t testing.TB, r Request) *Exchange {
	t.Helper()
	x := p.begin(r)
	if err := x.runRequest(t.Context()); err != nil {
		t.Fatal(err)
	}
	return x
}

// SendError is Send where the policy is to give an error, which it returns. It fails
// the test where there is none.
func (p *Policy) SendError(t testing.TB, r Request) error {
	t.Helper()
	x := p.begin(r)
	err := x.runRequest(t.Context())
	if err == nil {
		t.Fatalf("the policy gave no error; steps: %v", x.Steps)
	}
	return err
}

// Respond takes a response through the policy's response phases, after a GET of "/"
// that no policy has seen.
func (p *Policy) Respond(t testing.TB, r Response) *Exchange {
	t.Helper()
	x := p.begin(Request{})
	x.Respond(t, r)
	return x
}

// Respond takes the response to the request through the policy's response phases.
// It fails the test where the policy has answered the request itself.
func (x *Exchange) Respond(t testing.TB, r Response) {
	t.Helper()
	if err := x.runResponse(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// RespondError is Respond where the policy is to give an error, which it returns.
func (x *Exchange) RespondError(t testing.TB, r Response) error {
	t.Helper()
	err := x.runResponse(t.Context(), r)
	if err == nil {
		t.Fatalf("the policy gave no error; steps: %v", x.Steps)
	}
	return err
}

// RequestBody is the body as the upstream sees it.
func (x *Exchange) RequestBody() string { return x.request.whole }

// ResponseBody is the body as the client sees it.
func (x *Exchange) ResponseBody() string { return x.response.whole }

// Dynamic returns what the policy has told the proxy under key.
func (x *Exchange) Dynamic(key string) (any, bool) { return x.data.Dynamic.Get(key) }

// RequestChanges are the net changes to the request's headers, as the proxy is told
// them: "remove NAME", "set NAME: VALUE" or "add NAME: VALUE".
func (x *Exchange) RequestChanges() []string { return changes(&x.data.Request.Headers) }

// ResponseChanges are the net changes to the response's headers.
func (x *Exchange) ResponseChanges() []string { return changes(&x.data.Response.Headers) }

// WantPassed fails the test where the policy has answered in the upstream's place.
func (x *Exchange) WantPassed(t testing.TB) {
	t.Helper()
	if ir := x.Immediate; ir != nil {
		t.Errorf("the policy answered %d %s, want the message to pass", ir.Status, ir.Reason)
	}
}

// WantRejected fails the test where the policy has not answered with that status and
// reason.
func (x *Exchange) WantRejected(t testing.TB, status int, reason string) {
	t.Helper()
	switch ir := x.Immediate; {
	case ir == nil:
		t.Errorf("the message passed, want %d %s", status, reason)
	case ir.Status != status || ir.Reason != reason:
		t.Errorf("the policy answered %d %s, want %d %s", ir.Status, ir.Reason, status, reason)
	}
}

func (p *Policy) begin(r Request) *Exchange {
	data := r.exchange()
	// As the runtime does before a chain's first step.
	p.owned.Remove(&data.Request.Headers)
	x := &Exchange{
		Request:         policy.NewRequestContext(data, p.config.shadow),
		Response:        policy.NewResponseContext(data, p.config.shadow),
		policy:          p,
		data:            data,
		request:         newBody(r.Body, r.Chunks),
		requestTrailers: r.Trailers,
	}
	if p.config.lookups != nil {
		data.Attributes = watched{data.Attributes, p.config.lookups, x}
	}
	return x
}

func (x *Exchange) runRequest(ctx context.Context) error {
	if err := x.step(ctx, policy.RequestHeaders); err != nil {
		return err
	}
	if err := x.body(ctx, &x.data.Request.Body, &x.request, policy.RequestBody, &x.RequestChunks); err != nil {
		return err
	}
	if len(x.requestTrailers) > 0 {
		x.data.Request.Trailers.Reset(fields(x.requestTrailers))
		return x.step(ctx, policy.RequestTrailers)
	}
	return nil
}

func (x *Exchange) runResponse(ctx context.Context, r Response) error {
	switch {
	case x.Immediate != nil:
		return fmt.Errorf("there is no response: the policy has answered %d %s", x.Immediate.Status, x.Immediate.Reason)
	case x.answered:
		return fmt.Errorf("there was a response already")
	}
	x.answered = true
	x.data.Response.Status = r.Status
	if r.Status == 0 {
		x.data.Response.Status = 200
	}
	x.data.Response.Headers.Reset(fields(r.Headers))
	x.response = newBody(r.Body, r.Chunks)
	if err := x.step(ctx, policy.ResponseHeaders); err != nil {
		return err
	}
	if err := x.body(ctx, &x.data.Response.Body, &x.response, policy.ResponseBody, &x.ResponseChunks); err != nil {
		return err
	}
	if len(r.Trailers) > 0 {
		x.data.Response.Trailers.Reset(fields(r.Trailers))
		return x.step(ctx, policy.ResponseTrailers)
	}
	return nil
}

// body runs the whole-body phase, and the chunk phase that follows it in the order
// of phases. A policy that has both sees one last piece in the second, as it does
// where another policy of its chain wants the whole body.
func (x *Exchange) body(ctx context.Context, data *exchange.Body, b *body, whole policy.Phase, out *[]string) error {
	if x.Immediate != nil {
		return nil
	}
	pieces := b.pieces
	if x.policy.phases.Has(whole) {
		data.Bytes, data.Present = []byte(b.whole), true
		if err := x.step(ctx, whole); err != nil {
			return err
		}
		b.whole = string(data.Bytes)
		pieces = []string{b.whole}
	}
	if chunks := whole + 1; x.policy.phases.Has(chunks) && x.Immediate == nil {
		return x.chunks(ctx, chunks, pieces, b, out)
	}
	return nil
}

// views returns contexts of their own for one call, which a policy cannot tell from a
// runtime's.
func (x *Exchange) views(call *exchange.Call) (*policy.RequestContext, *policy.ResponseContext) {
	shadow := x.policy.config.shadow
	req, resp := policy.NewRequestContext(x.data, shadow).WithCall(call), policy.NewResponseContext(x.data, shadow).WithCall(call)
	if x.trace != nil {
		x.trace(&req, &resp)
	}
	return &req, &resp
}
