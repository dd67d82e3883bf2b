package extproc

import (
	"net/http"

	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/worker"
)

// maxPiece bounds a piece of a body in full duplex, in bytes.
const maxPiece = 60 << 10

// duplex is a body in full duplex: Envoy sends its pieces without waiting, forgets them, and
// sends on what the engine sends back. Nothing obliges the engine to answer a piece when it
// comes, so that a whole body can be gathered while the answer to the headers waits.
type duplex struct{ *side }

func (b duplex) take(m *wire.Message) kernel.Next {
	return b.stream.exchange.Body(b.direction, m.Body, b.at == atEnd)
}

// gathers reports whether the kernel puts the body together.
func (b duplex) gathers() bool { return b.stream.exchange.Gathers(b.direction) }

func (b duplex) headers() error {
	if b.gathers() && b.stream.exchange.BodyPending(b.direction) {
		return nil // they are answered with the body
	}
	return b.stream.answerHeaders(b.side, b.at == atEnd)
}

func (b duplex) piece() error {
	st := b.stream
	e, m := &st.exchange, &st.reader.in
	switch {
	case !e.Ran() && b.gathers() && e.BodyPending(b.direction):
		return nil
	case !e.Ran():
		return b.send(e.Kept(b.direction, m.Body), m.EndOfStream)
	case b.gathers():
		return b.release(m.EndOfStream)
	}
	return b.send(e.Kept(b.direction, e.Chunk().Data), e.Chunk().Last)
}

// release answers the headers that waited for the body, and sends the body. last says that
// nothing follows it.
func (b duplex) release(last bool) error {
	st := b.stream
	data, changed, err := st.exchange.WholeBody(b.direction)
	if err != nil {
		return err
	}
	if !changed {
		data = st.exchange.Gathered(b.direction)
	}
	if err := st.answerHeaders(b.side, false); err != nil {
		return err
	}
	return b.send(st.exchange.Kept(b.direction, data), last)
}

func (b duplex) beforeTrailers() (answered bool, err error) {
	e := &b.stream.exchange
	if !b.gathers() {
		return false, b.send(e.Kept(b.direction, e.Chunk().Data), false)
	}
	if _, filled := e.BodyChanged(b.direction); filled && len(e.Gathered(b.direction)) == 0 {
		return true, b.add()
	}
	return false, b.release(false)
}

// add gives a body to a message of headers and trailers alone. To Envoy a body that it has
// not begun to send is spurious; but its headers have not been answered, and it takes a body
// with them. It then sends the trailers as they are and wants no answer to them.
func (b duplex) add() error {
	if b.stream.exchange.TrailersChanged(b.direction) {
		return kernel.Refused(trailersNotSupported(b.direction), errTrailersBehind)
	}
	return b.stream.answerHeaders(b.side, true)
}

func (b duplex) pass(m *wire.Message) error { return b.send(m.Body, m.EndOfStream) }

// lose implements body. The body can be emptied piece by piece, since its headers go out
// before its end is known. With a 304 Envoy might mark the end of a chunked body, for which
// the client does not look behind such a status.
func (b duplex) lose() (drop bool, err error) {
	if b.stream.exchange.Content().Response.Status == http.StatusNotModified {
		return false, kernel.Refused(worker.FilterCannotServeChain, errNotRemovable)
	}
	return false, nil
}

func (b duplex) resizes() bool { return true }

// send sends the body, or a piece of it, in pieces that Envoy takes.
func (b duplex) send(data []byte, last bool) error {
	if len(data) == 0 && !last {
		return nil
	}
	st := b.stream
	for {
		n := min(len(data), maxPiece)
		rest := data[n:]
		st.reply.Reset(b.bodyKind())
		st.tell()
		st.reply.StreamBody(data[:n], last && len(rest) == 0)
		if err := st.send(); err != nil {
			return err
		}
		if data = rest; len(data) == 0 {
			return nil
		}
	}
}
