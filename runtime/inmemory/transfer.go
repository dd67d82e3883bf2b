package inmemory

import (
	"context"
	"sync/atomic"

	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
)

// transfer is one exchange on its way. One goroutine at a time uses it.
type transfer struct {
	carrier  *Carrier
	exchange kernel.Exchange
	upstream func(*Request) *Response
	request  Request
	response Response

	// direction and at say which part is next: headers at 0, then the pieces of the
	// body, then trailers.
	direction kernel.Direction
	at        int
	// out is what goes on of each direction.
	out [2]outgoing

	result Result
	err    error
	over   chan struct{}
	// oneDone is set once either the exchange is over or the abandoned call has
	// returned, which still has the bodies.
	oneDone atomic.Bool
	resumed bool
}

// outgoing is what goes on of one direction.
type outgoing struct {
	// sent says that the headers went on: fields, with the pseudo-headers of request or
	// the status.
	sent     bool
	request  exchange.Request
	status   int
	fields   []exchange.Field
	body     [][]byte
	trailers []exchange.Field
}

func (t *transfer) begin(ctx context.Context) {
	t.exchange.Begin(ctx, t.carrier.kernel, t)
	if t.carrier.observed {
		t.exchange.Observe()
	}
}

// run brings parts until the exchange is over or another goroutine has it.
func (t *transfer) run() {
	finished := false
	defer func() {
		// After a policy ended this goroutine, the exchange goes on elsewhere.
		if p := recover(); p != nil {
			t.exchange.Abandon()
			t.err = kernel.ErrInternal
			t.finish()
		} else if !finished {
			t.sideDone()
		}
	}()
	elsewhere := t.carry()
	finished = !elsewhere
	if finished {
		t.finish()
	}
}

// carry brings the parts that are left. elsewhere says that another goroutine has the
// exchange.
func (t *transfer) carry() (elsewhere bool) {
	for t.more() {
		t.exchange.Arrive()
		switch next := t.bring(); t.after(next) {
		case kernel.PassOn:
		case kernel.Elsewhere:
			return true
		default:
			return false
		}
	}
	return false
}

// Resume implements kernel.Carrier.
func (t *transfer) Resume(outcome worker.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			t.exchange.Abandon()
			t.err = kernel.ErrInternal
			t.finish()
		}
	}()
	t.resumed = true
	switch t.after(t.exchange.GoOn(outcome)) {
	case kernel.Elsewhere:
		return
	case kernel.PassOn:
		if t.carry() {
			return
		}
	}
	t.finish()
}

// Narrowed implements kernel.Carrier: everything is shown.
func (t *transfer) Narrowed() bool {
	t.takeBodies()
	return true
}

// Describe implements kernel.Carrier.
func (t *transfer) Describe(d *telemetry.Decision) {
	r := &t.request
	id := ""
	for _, f := range r.Headers {
		if exchange.Lower(f.Name) == "x-request-id" {
			id = f.Value
			break
		}
	}
	d.Describe(r.Method, r.Authority, r.Path, id)
}

// finish ends the exchange and lets Do return.
func (t *transfer) finish() {
	t.result.Request, t.result.Response = t.requestOut(), t.responseOut()
	t.exchange.End()
	if t.resumed {
		t.sideDone()
	} else {
		t.exchange.GiveBack()
	}
	close(t.over)
}

// sideDone is called twice on an exchange that was resumed elsewhere: when it is over, and when
// the abandoned call has returned. The second call gives back what bodies have taken.
func (t *transfer) sideDone() {
	if t.oneDone.Swap(true) {
		t.exchange.GiveBack()
	}
}

// after does what the kernel has decided on the part in hand. It returns PassOn if the next
// part can come, and otherwise how the exchange ended.
func (t *transfer) after(next kernel.Next) kernel.Next {
	if next == kernel.PassOn {
		err := t.passOn()
		if err == nil {
			t.at++
			return kernel.PassOn
		}
		refusal, refused := err.(*kernel.Refusal)
		if !refused {
			t.err = err
			return kernel.Fail
		}
		next = t.exchange.Refuse(refusal.Reason, refusal.Cause)
	}
	switch next {
	case kernel.Answer:
		t.answer()
	case kernel.Fail:
		t.err = t.exchange.Err()
	}
	return next
}

// answer gives the client the engine's answer.
func (t *transfer) answer() {
	out := t.exchange.Answer()
	t.result.Answer = out
	t.tell()
	o := &t.out[kernel.Response]
	*o = outgoing{sent: true, status: out.Response.Status}
	for _, h := range out.Response.Headers {
		o.fields = append(o.fields, exchange.Field{Name: exchange.Lower(h.Name), Value: h.Value})
	}
	if len(out.Response.Body) > 0 {
		o.body = [][]byte{[]byte(out.Response.Body)}
	}
}

// tell takes over the dynamic metadata that policies have set.
func (t *transfer) tell() {
	x := t.exchange.Content()
	if x == nil || x.Dynamic.Len() == 0 {
		return
	}
	if t.result.Metadata == nil {
		t.result.Metadata = map[string]any{}
	}
	for key, value := range x.Dynamic.All() {
		t.result.Metadata[key] = value
	}
	x.Dynamic.Clear()
}

func (t *transfer) requestOut() *Request {
	o := &t.out[kernel.Request]
	if !o.sent {
		return nil
	}
	return &Request{
		Route: t.request.Route, Attributes: t.request.Attributes,
		Method: o.request.Method, Scheme: o.request.Scheme, Authority: o.request.Authority, Path: o.request.Path,
		Headers: o.fields, Body: o.body, Trailers: o.trailers,
	}
}

func (t *transfer) responseOut() *Response {
	o := &t.out[kernel.Response]
	if !o.sent {
		return nil
	}
	return &Response{Status: o.status, Headers: o.fields, Body: o.body, Trailers: o.trailers}
}
