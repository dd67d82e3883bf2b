package kernel

import (
	"slices"
	"strconv"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// changes passes changes of headers on to the carrier, if the proxy will make them. It is
// the last check: what policies answer was checked when it was applied. A change that the
// proxy would drop silently, or fail the message for, is refused.
type changes struct {
	exchange *Exchange
	to       exchange.ChangeVisitor
	err      error
	// sets and removes count what was passed on, and added the bytes of names and
	// values that are set.
	sets, removes, added int
}

// changesTo begins the changes of the part in hand.
func (e *Exchange) changesTo(to exchange.ChangeVisitor) *changes {
	e.changes = changes{exchange: e, to: to}
	return &e.changes
}

// mayChange reports whether the proxy lets a header or pseudo-header be changed.
func (e *Exchange) mayChange(name string) bool {
	return e.terms.Rules == nil || e.terms.Rules.MayChange(name)
}

// allowed reports whether a header may be changed.
func (c *changes) allowed(name string) bool {
	return (name == contentLength || policy.CheckHeaderEdit(name) == nil) && c.exchange.mayChange(name)
}

// SetHeader implements exchange.ChangeVisitor.
func (c *changes) SetHeader(name, value string, add bool) {
	if !c.allowed(name) || !policy.ValidHeaderValue(value) {
		c.forbid(name)
		return
	}
	c.set(name, value, add)
}

// RemoveHeader implements exchange.ChangeVisitor.
func (c *changes) RemoveHeader(name string) {
	if !c.allowed(name) {
		c.forbid(name)
		return
	}
	c.removes++
	c.to.RemoveHeader(name)
}

// setPseudo sets a pseudo-header.
func (c *changes) setPseudo(name, value string) {
	if !c.exchange.mayChange(name) || !policy.ValidHeaderValue(value) {
		c.forbid(name)
		return
	}
	c.set(name, value, false)
}

func (c *changes) set(name, value string, add bool) {
	c.sets++
	c.added += len(name) + len(value)
	c.to.SetHeader(name, value, add)
}

// forbid refuses the change of a header.
func (c *changes) forbid(name string) {
	c.err = Refused(worker.FilterCannotServeChain, &changeCause{name})
}

// fits refuses what the proxy would fail the message for: it holds every message whose
// headers a reply changes, if only by removing one, to its limits. pseudo is the size of
// the pseudo-headers that count with the headers.
func (c *changes) fits(h *exchange.Headers, pseudo Size) {
	if c.err != nil || c.sets+c.removes == 0 {
		return
	}
	limit, reason := c.exchange.terms.RequestHeaders, worker.HeadersTooLarge
	if c.exchange.hand == Response {
		limit, reason = c.exchange.terms.ResponseHeaders, worker.ResponseHeadersTooLarge
	}
	if limit == (Size{}) {
		return
	}
	total := Size{h.Len() + pseudo.Count, h.Size() + pseudo.Bytes}
	switch {
	case c.sets+pseudo.Count > limit.Count || c.removes > limit.Count:
		c.err = Refused(worker.FilterCannotServeChain, &sizeCause{telemetry.AddedHeaders, headerCount, total.Count, c.sets, limit.Count})
	case c.added > limit.Bytes:
		c.err = Refused(worker.FilterCannotServeChain, &sizeCause{telemetry.AddedHeaders, headerBytes, total.Bytes, c.added, limit.Bytes})
	case total.Count > limit.Count:
		c.err = Refused(reason, &sizeCause{telemetry.HeaderCount, headerCount, total.Count, c.sets, limit.Count})
	case total.Bytes > limit.Bytes:
		c.err = Refused(reason, &sizeCause{telemetry.HeaderBytes, headerBytes, total.Bytes, c.added, limit.Bytes})
	}
}

// HeaderChanges tells the visitor the net changes of a direction's headers since the last
// call, pseudo-headers among them as headers. reroute says that routing has to be done
// again. The error is a [*Refusal], and what the visitor was told must not be used then.
func (e *Exchange) HeaderChanges(d Direction, to exchange.ChangeVisitor) (reroute bool, err error) {
	if d == Response {
		return false, e.responseChanges(to)
	}
	r := &e.executor.Exchange().Request
	if !r.HeadersChanged() {
		return false, nil
	}
	c := e.changesTo(to)
	if r.MethodChanged() {
		c.setPseudo(":method", r.Method)
	}
	if r.AuthorityChanged() {
		c.setPseudo(":authority", r.Authority)
	}
	if r.PathChanged() {
		c.setPseudo(":path", r.Path)
	}
	r.Headers.VisitChanges(c)
	c.fits(&r.Headers, requestPseudo(r))
	if c.err != nil {
		return false, c.err
	}
	reroute = e.needs.Reroute && e.reroutes(r)
	r.SettleHeaders()
	return reroute, nil
}

func (e *Exchange) responseChanges(to exchange.ChangeVisitor) error {
	r := &e.executor.Exchange().Response
	if !r.HeadersChanged() {
		return nil
	}
	c := e.changesTo(to)
	if r.StatusChanged() {
		c.setPseudo(":status", strconv.Itoa(r.Status))
	}
	r.Headers.VisitChanges(c)
	c.fits(&r.Headers, responsePseudo)
	if c.err == nil {
		r.SettleHeaders()
	}
	return c.err
}

// reroutes reports whether something has changed that routing reads.
func (e *Exchange) reroutes(r *exchange.Request) bool {
	if r.MethodChanged() || r.AuthorityChanged() || r.PathChanged() {
		return true
	}
	for name := range r.Headers.Touched() {
		if slices.Contains(e.needs.RerouteHeaders, name) {
			return true
		}
	}
	return false
}

// TrailerChanges is [Exchange.HeaderChanges] for the trailers of a direction.
func (e *Exchange) TrailerChanges(d Direction, to exchange.ChangeVisitor) error {
	trailers := e.trailersOf(d)
	if !trailers.Changed() {
		return nil
	}
	c := e.changesTo(to)
	trailers.VisitChanges(c)
	c.fits(trailers, Size{})
	if c.err == nil {
		trailers.Settle()
	}
	return c.err
}

// TrailersChanged reports whether policies changed the trailers of a direction.
func (e *Exchange) TrailersChanged(d Direction) bool { return e.trailersOf(d).Changed() }

// HeadersChanged reports whether policies changed the headers of a direction since
// [Exchange.HeaderChanges].
func (e *Exchange) HeadersChanged(d Direction) bool {
	x := e.executor.Exchange()
	if d == Response {
		return x.Response.HeadersChanged()
	}
	return x.Request.HeadersChanged()
}

// DropLength tells the visitor to remove the request's content-length, for a body whose
// length may still change. Policies still see the header. It is called after
// [Exchange.HeaderChanges], with the same visitor, of which sets and removes are the
// changes so far. The error is a [*Refusal].
func (e *Exchange) DropLength(to exchange.ChangeVisitor, sets, removes int) error {
	r := &e.executor.Exchange().Request
	length, ok := r.Headers.Get(contentLength)
	if !ok {
		return nil
	}
	c := e.changesTo(to)
	c.sets, c.removes = sets, removes
	c.RemoveHeader(contentLength)
	rest := requestPseudo(r)
	rest.Count, rest.Bytes = rest.Count-1, rest.Bytes-len(contentLength)-len(length)
	c.fits(&r.Headers, rest)
	return c.err
}

// BodyChanged reports whether policies gave a direction another whole body, and whether
// there is anything in it.
func (e *Exchange) BodyChanged(d Direction) (changed, filled bool) {
	b := e.body(d)
	return b.Changed, b.Changed && len(b.Bytes) > 0
}

// WholeBody returns the whole body of a direction as it goes on, in its content codings,
// and whether it is another one than came. The error is a [*Refusal], or says that the body
// cannot be encoded.
func (e *Exchange) WholeBody(d Direction) (b []byte, changed bool, err error) { return e.encode(d) }

// WholeBodyWithLength is [Exchange.WholeBody] for a proxy that sends the headers after the
// body is known: the content-length is that of the body that goes on, and the body is
// empty if the response lost it.
func (e *Exchange) WholeBodyWithLength(d Direction) (b []byte, changed bool, err error) {
	if b, changed, err = e.encode(d); err != nil {
		return nil, false, err
	}
	if e.LosesBody(d) {
		b, changed = nil, true
		e.CorrectLength(d)
	}
	if h := e.headersOf(d); changed && h.Count(contentLength) > 0 {
		h.Set(contentLength, strconv.Itoa(len(b)))
	}
	return b, changed, nil
}

// Kept is a piece of a direction's body as it goes on: nothing, if the response lost its
// body.
func (e *Exchange) Kept(d Direction, piece []byte) []byte {
	if e.executor != nil && e.LosesBody(d) {
		return nil
	}
	return piece
}

// requestPseudo is the size of the request's pseudo-headers.
func requestPseudo(r *exchange.Request) (s Size) {
	s.add(":method", r.Method)
	s.add(":scheme", r.Scheme)
	s.add(":authority", r.Authority)
	s.add(":path", r.Path)
	return s
}

// responsePseudo is the size of the response's, which is its status.
var responsePseudo = Size{1, len(":status") + len("200")}

func (s *Size) add(name, value string) {
	if value != "" {
		s.Count++
		s.Bytes += len(name) + len(value)
	}
}
