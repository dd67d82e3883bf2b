package inmemory

import (
	"slices"

	"policyengine.dev/runtime/kernel"
	"policyengine.dev/sdk/exchange"
)

// more reports whether a part is left. It has the upstream respond once the request is
// through.
func (t *transfer) more() bool {
	body, trailers := t.parts()
	if t.at <= len(body) || t.at == len(body)+1 && trailers != nil {
		return true
	}
	if t.direction.IsResponse() || t.upstream == nil {
		return false
	}
	response := t.upstream(t.requestOut())
	if response == nil {
		t.exchange.CutShort()
		return false
	}
	t.response, t.direction, t.at = *response, kernel.Response, 0
	return true
}

// parts are the pieces of the body and the trailers of the direction in hand.
func (t *transfer) parts() (body [][]byte, trailers []exchange.Field) {
	if t.direction.IsResponse() {
		return t.response.Body, t.response.Trailers
	}
	return t.request.Body, t.request.Trailers
}

// bring brings the next part to the kernel.
func (t *transfer) bring() kernel.Next {
	body, trailers := t.parts()
	e := &t.exchange
	begins := t.at == 0 && !t.direction.IsResponse()
	switch last := t.at == len(body) && trailers == nil; {
	case begins:
		return t.bringRequest(last)
	case !e.HasChain():
		return kernel.PassOn
	case t.at == 0:
		x := e.Content()
		x.Response.Status = t.response.Status
		x.Response.Headers.Reset(lower(t.response.Headers))
		return e.ResponseHeaders(last)
	case t.at <= len(body):
		return e.Body(t.direction, body[t.at-1], last)
	}
	x := e.Content()
	if t.direction.IsResponse() {
		x.Response.Trailers.Reset(lower(trailers))
	} else {
		x.Request.Trailers.Reset(lower(trailers))
	}
	return e.Trailers(t.direction)
}

// bringRequest finds the chain of the request and brings its headers. last says that
// nothing follows them.
func (t *transfer) bringRequest(last bool) kernel.Next {
	e, r := &t.exchange, &t.request
	if next := e.Acquire(); next != kernel.PassOn {
		return next
	}
	if next := e.Find(r.Route, &t.carrier.terms); next != kernel.PassOn || !e.HasChain() {
		return next
	}
	x := e.Content()
	x.Request.Method, x.Request.Scheme, x.Request.Authority, x.Request.Path = r.Method, r.Scheme, r.Authority, r.Path
	x.Request.Headers.Reset(lower(r.Headers))
	x.Attributes = r.Attributes
	t.takeBodies()
	return e.RequestHeaders(last, false)
}

// takeBodies says how bodies come.
func (t *transfer) takeBodies() {
	for _, d := range []kernel.Direction{kernel.Request, kernel.Response} {
		intake := kernel.Pieces
		if kernel.WantsWhole(t.exchange.Needs(), d) {
			intake = kernel.Gathered
		}
		t.exchange.TakeBody(d, intake)
	}
}

// passOn lets the part in hand go on, with what its phases have changed.
func (t *transfer) passOn() error {
	e, d := &t.exchange, t.direction
	if !e.HasChain() {
		t.passUnchanged()
		return nil
	}
	defer t.tell()
	body, _ := t.parts()
	switch {
	case e.Observed():
		t.passUnchanged()
		return nil
	case t.at == 0:
		if e.TakesWhole(d) && e.BodyPending(d) {
			return nil // the headers wait for the body
		}
		return t.passHeaders(false)
	case t.at <= len(body):
		return t.passPiece(body[t.at-1])
	}
	return t.passTrailers()
}

// passUnchanged lets a part go on as it came.
func (t *transfer) passUnchanged() {
	o, d := &t.out[t.direction], t.direction
	body, trailers := t.parts()
	switch {
	case t.at == 0 && d.IsResponse():
		o.sent, o.status, o.fields = true, t.response.Status, lower(t.response.Headers)
	case t.at == 0:
		r := &t.request
		o.sent, o.fields = true, lower(r.Headers)
		o.request.Method, o.request.Scheme, o.request.Authority, o.request.Path = r.Method, r.Scheme, r.Authority, r.Path
	case t.at <= len(body):
		o.body = append(o.body, body[t.at-1])
	default:
		o.trailers = lower(trailers)
	}
}

// passHeaders lets the headers of the direction in hand go on. withBody says that the whole
// body goes with them, otherwise what there is of it follows.
func (t *transfer) passHeaders(withBody bool) error {
	e, d, o := &t.exchange, t.direction, &t.out[t.direction]
	if withBody {
		b, _, err := e.WholeBodyWithLength(d)
		if err != nil {
			return err
		}
		if len(b) > 0 {
			o.body = [][]byte{b}
		}
	} else {
		if _, filled := e.BodyChanged(d); filled && e.MayHaveBody(d) {
			// A policy gave a body to a message without one.
			b, _, err := e.WholeBody(d)
			if err != nil {
				return err
			}
			o.body = [][]byte{b}
		}
		e.CorrectLength(d)
	}
	reroute, err := e.HeaderChanges(d, ignored{})
	if err != nil {
		return err
	}
	t.result.Reroute = t.result.Reroute || reroute
	o.sent = true
	x := e.Content()
	if d.IsResponse() {
		o.status, o.fields = x.Response.Status, fieldsOf(&x.Response.Headers)
	} else {
		o.request = exchange.Request{Method: x.Request.Method, Scheme: x.Request.Scheme, Authority: x.Request.Authority, Path: x.Request.Path}
		o.fields = fieldsOf(&x.Request.Headers)
	}
	if !withBody && e.BodyPending(d) && t.resizes() {
		// Pieces may change in length.
		o.fields = slices.DeleteFunc(o.fields, func(f exchange.Field) bool { return f.Name == "content-length" })
	}
	return nil
}

// resizes reports whether policies may change the length of the body in hand after its
// headers have gone on.
func (t *transfer) resizes() bool {
	n := t.exchange.Needs()
	if t.direction.IsResponse() {
		return n.ChangesResponseChunks
	}
	return n.ChangesRequestChunks
}

// passPiece lets a piece of the body go on, or all of it.
func (t *transfer) passPiece(piece []byte) error {
	e, d, o := &t.exchange, t.direction, &t.out[t.direction]
	switch {
	case e.Gathers(d) && !e.Ran() && e.BodyPending(d):
		return nil
	case e.Gathers(d) && !o.sent:
		return t.passWhole()
	case e.Ran():
		piece = e.Chunk().Data
	}
	if piece = e.Kept(d, piece); len(piece) > 0 {
		o.body = append(o.body, piece)
	}
	return nil
}

// passWhole lets the headers that waited and the whole body go on.
func (t *transfer) passWhole() error {
	e, d, o := &t.exchange, t.direction, &t.out[t.direction]
	if err := t.passHeaders(true); err != nil {
		return err
	}
	if o.body == nil && !e.LosesBody(d) {
		if changed, _ := e.BodyChanged(d); !changed {
			if b := e.Gathered(d); len(b) > 0 {
				o.body = [][]byte{b}
			}
		}
	}
	return nil
}

// passTrailers lets the trailers go on, after what was held back of the body.
func (t *transfer) passTrailers() error {
	e, d, o := &t.exchange, t.direction, &t.out[t.direction]
	switch {
	case !o.sent:
		if err := t.passWhole(); err != nil {
			return err
		}
	case e.RanBody():
		if held := e.Kept(d, e.Chunk().Data); len(held) > 0 {
			o.body = append(o.body, held)
		}
	}
	if err := e.TrailerChanges(d, ignored{}); err != nil {
		return err
	}
	x := e.Content()
	if d.IsResponse() {
		o.trailers = fieldsOf(&x.Response.Trailers)
	} else {
		o.trailers = fieldsOf(&x.Request.Trailers)
	}
	return nil
}

// ignored is told of changes: the exchange itself has what comes of them.
type ignored struct{}

func (ignored) SetHeader(string, string, bool) {}
func (ignored) RemoveHeader(string)            {}

func fieldsOf(h *exchange.Headers) []exchange.Field {
	all := make([]exchange.Field, 0, h.Len())
	for name, value := range h.All() {
		all = append(all, exchange.Field{Name: name, Value: value})
	}
	return all
}
