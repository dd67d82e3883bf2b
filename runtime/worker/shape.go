package worker

import (
	"context"
	"time"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// Envoy does not show its processor the responses that it makes itself, the
// processor's own immediate responses among them. What is to make every rejection
// of an API look alike therefore runs here, before the rejection leaves: the
// policies of the chain's onReject list, over the rejection as if it were an
// upstream's response. They may change it to another rejection, and to nothing
// else; whatever goes wrong with them, the rejection as it was is sent.

// Reject implements [Executor].
func (r *run) Reject(ctx context.Context, refusal Refusal, budget time.Duration, t Resumer) Outcome {
	out := refusal.Reason.Outcome()
	r.blame = blame{cause: refusal.Cause}
	if !r.chain.shapes() {
		r.deny(out)
		return out
	}
	r.enter(ctx, policy.ResponseHeaders, &r.chain.rejectHeaders, budget, t)
	return r.leave(r.shape(out))
}

// shape runs the onReject list over a rejection.
func (r *run) shape(out Outcome) Outcome {
	c := r.chain
	if !c.shapes() || r.rejection != nil || out.Response.Status < 400 {
		r.deny(out)
		return out
	}
	original := out
	r.rejection = &original
	resp := &r.x.Response
	fields := resp.Headers.Storage()
	for _, h := range out.Response.Headers {
		fields = append(fields, exchange.Field{Name: exchange.Lower(h.Name), Value: h.Value})
	}
	resp.Status = out.Response.Status
	resp.Headers.Reset(fields)
	resp.Body = exchange.Body{Bytes: out.Response.Body, Present: true}
	resp.SettleHeaders()
	r.begin(policy.ResponseHeaders, &c.rejectHeaders)
	return r.shapeFrom(0)
}

// shapeFrom goes on at step i of the phase that is running.
func (r *run) shapeFrom(i int) Outcome {
	r.now = r.clock.now()
	out := r.from(i)
	if out.Kind == Continue && r.phase == policy.ResponseHeaders {
		r.begin(policy.ResponseBody, &r.chain.rejectBody)
		r.now = r.clock.now()
		out = r.from(0)
	}
	if out.Kind == Continue {
		out = r.shaped()
	}
	if out.Kind == Respond {
		r.deny(out)
	}
	return out
}

// shaped makes a rejection of what the list has left.
func (r *run) shaped() Outcome {
	resp := &r.x.Response
	ir := &policy.ImmediateResponse{
		Status:     resp.Status,
		Headers:    make([]policy.Header, 0, resp.Headers.Len()),
		Body:       resp.Body.Bytes,
		GRPCStatus: r.rejection.Response.GRPCStatus,
		Reason:     r.rejection.Response.Reason,
	}
	for name, value := range resp.Headers.All() {
		ir.Headers = append(ir.Headers, policy.Header{Name: name, Value: value})
	}
	return r.reshaped(ir)
}

// reshaped is the outcome for a rejection in its new shape, or in its old one where
// the new one would be none.
func (r *run) reshaped(ir *policy.ImmediateResponse) Outcome {
	if ir.Status < 400 || ir.Status > 599 {
		return *r.rejection
	}
	return Outcome{Kind: Respond, Response: ir, Details: r.rejection.Details}
}
