package kernel

import (
	"errors"
	"slices"
	"strconv"

	"policyengine.dev/runtime/kernel/coding"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// RequestHeaders decides on the request's headers, which are in [Exchange.Content]. end
// says that nothing follows them. tunnel says that the request asks for a tunnel by other
// means than the method CONNECT or an upgrade header.
func (e *Exchange) RequestHeaders(end, tunnel bool) Next {
	if e.tunnels(tunnel) {
		return e.Refuse(worker.UpgradeNotSupported, errTunnel)
	}
	return e.headersCame(Request, end)
}

// ResponseHeaders decides on the response's headers, which are in [Exchange.Content]. end
// says that nothing follows them.
func (e *Exchange) ResponseHeaders(end bool) Next {
	e.came = e.executor.Exchange().Response.Status
	return e.headersCame(Response, end)
}

// tunnels reports whether the exchange becomes a tunnel (an upgrade, or CONNECT) while
// policies want whole bodies: what goes through a tunnel does not end, and the proxy would
// hold it forever.
func (e *Exchange) tunnels(tunnel bool) bool {
	if !e.TakesWhole(Request) && !e.TakesWhole(Response) {
		return false
	}
	x := e.executor.Exchange()
	if tunnel || x.Request.Method == "CONNECT" {
		return true
	}
	_, upgrade := x.Request.Headers.Get("upgrade")
	return upgrade
}

func (e *Exchange) headersCame(d Direction, end bool) Next {
	s := e.take(d, true, end)
	e.readCodings(d)
	e.schedule(s, d.headers())
	if end {
		// All that there is of the message is here, so body phases run too.
		s.intake = Whole
		if e.BodyPending(d) {
			if next := e.wholeBody(d, []byte{}); next != PassOn {
				return next
			}
		}
	}
	return e.advance()
}

// take notes which part is in hand. Where it is the last of its direction, trailers are
// not waited for.
func (e *Exchange) take(d Direction, headers, end bool) *side {
	e.hand, e.headers = d, headers
	s := &e.sides[d]
	if end {
		s.ended = true
		s.pending &^= policy.Phases(d.headers() + toTrailers)
	}
	return s
}

// Body decides on a piece of the body of a direction, or on all of it, as
// [Exchange.TakeBody] said. end says that nothing follows. The data must not be modified
// afterwards, except that of a piece that is [Gathered], which is copied.
func (e *Exchange) Body(d Direction, data []byte, end bool) Next {
	s := e.take(d, false, end)
	next := PassOn
	switch {
	case s.seen:
		// What policies decided on was not the whole body.
		return e.Refuse(worker.FilterCannotServeChain, errBodyNotWhole)
	case !e.BodyPending(d):
	case s.intake == Gathered:
		if n := int64(len(s.gathered) + len(data)); n > e.BodyLimit() {
			return e.tooLarge(d, telemetry.LengthReceived, n)
		}
		if !e.gather(d, data) {
			return e.Overloaded(d)
		}
		if end {
			next = e.wholeBody(d, slices.Clip(s.gathered))
		}
	case s.intake == Whole:
		next = e.wholeBody(d, data)
	default:
		e.chunk = worker.Chunk{Data: data, Last: end}
		e.schedule(s, d.headers()+toChunks)
		if !end {
			s.pending = s.pending.With(d.headers() + toChunks)
		}
	}
	if next != PassOn {
		return next
	}
	return e.advance()
}

// Trailers decides on the trailers of a direction, which are in [Exchange.Content].
func (e *Exchange) Trailers(d Direction) Next {
	e.hand, e.headers = d, false
	s := &e.sides[d]
	s.ended = true
	switch {
	case !e.BodyPending(d):
	case s.intake != Pieces:
		if s.gathered == nil {
			s.gathered = []byte{}
		}
		if next := e.wholeBody(d, slices.Clip(s.gathered)); next != PassOn {
			return next
		}
	default:
		e.chunk = worker.Chunk{Data: []byte{}, Last: true}
		e.schedule(s, d.headers()+toChunks)
	}
	e.schedule(s, d.headers()+toTrailers)
	return e.advance()
}

// wholeBody gives policies the whole body and schedules their phases.
func (e *Exchange) wholeBody(d Direction, b []byte) Next {
	s := &e.sides[d]
	if n := int64(len(b)); n > e.BodyLimit() {
		return e.tooLarge(d, telemetry.LengthReceived, n)
	}
	if e.decodes(d) {
		plain, err := e.decode(d, b)
		switch {
		case errors.Is(err, coding.ErrNoMemory):
			return e.Overloaded(d)
		case errors.Is(err, coding.ErrTooLarge):
			return e.tooLarge(d, telemetry.LengthDecoded, 0)
		case err != nil:
			return e.Refuse(undecodable(d), &codingCause{telemetry.Undecodable, e.contentEncoding(d), err})
		}
		b, s.codings.undone = plain, true
	}
	*e.body(d) = exchange.Body{Bytes: b, Present: true}
	s.seen = true
	e.schedule(s, d.headers()+toBody)
	e.schedule(s, d.headers()+toChunks)
	return PassOn
}

// believed is how many times more than has arrived of a body memory is taken for, where its
// length is announced.
const believed = 8

// gather appends a piece to what has arrived of a body. It reports false if there is no
// memory for it.
func (e *Exchange) gather(d Direction, piece []byte) bool {
	s := &e.sides[d]
	need := len(s.gathered) + len(piece)
	if room := cap(s.gathered); need > room {
		// Twice as much each time, until enough is here to believe what was
		// announced.
		room = max(2*room, need)
		if n, ok := e.ContentLength(d); ok && int64(need) < n && n <= believed*int64(need) {
			room = int(n)
		}
		if !e.takeKept(int64(room - cap(s.gathered))) {
			return false
		}
		s.gathered = append(make([]byte, 0, room), s.gathered...)
	}
	s.gathered = append(s.gathered, piece...)
	return true
}

// Gathered is what the kernel has put together of a body. It must not be modified.
func (e *Exchange) Gathered(d Direction) []byte { return e.sides[d].gathered }

// Exceeds reports whether a body of that size, together with what has arrived of it, is
// larger than policies can be given.
func (e *Exchange) Exceeds(d Direction, size int64) bool {
	return e.executor != nil && e.TakesWhole(d) && e.BodyPending(d) && size+int64(len(e.sides[d].gathered)) > e.BodyLimit()
}

// BodyLimit bounds a whole body, in bytes.
func (e *Exchange) BodyLimit() int64 {
	if e.needs.BodyLimit > 0 {
		return e.needs.BodyLimit
	}
	return e.kernel.options.BodyLimit
}

const contentLength = "content-length"

// ContentLength is what the headers of a direction announce of the body's length, if they
// do.
func (e *Exchange) ContentLength(d Direction) (n int64, ok bool) {
	v, ok := e.headersOf(d).Get(contentLength)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil
}

// TooLarge refuses a body over its limit of which not all was read.
func (e *Exchange) TooLarge(d Direction) Next { return e.tooLarge(d, telemetry.LengthReceived, 0) }

// tooLarge refuses a body over the limit. n is its length so far, where it is known.
func (e *Exchange) tooLarge(d Direction, kind telemetry.Cause, n int64) Next {
	cause := &lengthCause{kind, n, e.BodyLimit()}
	if d == Response {
		return e.Refuse(worker.ResponseBodyTooLarge, cause)
	}
	return e.Refuse(worker.BodyTooLarge, cause)
}

func undecodable(d Direction) worker.Reason {
	if d == Response {
		return worker.ResponseBodyUndecodable
	}
	return worker.BodyUndecodable
}
