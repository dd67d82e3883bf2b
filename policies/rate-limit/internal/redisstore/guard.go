package redisstore

import (
	"errors"
	"net"
	"syscall"
)

// Bounds of one reply. The largest that is legitimate is the list of a cluster's slots, or
// of the server's commands.
const (
	maxReplyBytes    = 4 << 20
	maxReplyElements = 1 << 18
	maxReplyDepth    = 16
)

// errNonsense is what a reply gives that is no RESP2, or too large.
var errNonsense = errors.New("the server's reply is no RESP2 within bounds")

// guard lets bytes of replies pass whose framing is within bounds. The client's parser
// would allocate whatever length the server names, and would recurse as deep as it says.
// Use it for one reader.
type guard struct {
	net.Conn
	state framing
}

// guarded wraps the connection. It keeps the file descriptor within reach if there is one,
// by which the client's pool finds out that an idle connection was closed.
func guarded(c net.Conn) net.Conn {
	g := &guard{Conn: c}
	if raw, ok := c.(syscall.Conn); ok {
		return &struct {
			*guard
			syscall.Conn
		}{g, raw}
	}
	return g
}

// Read implements net.Conn.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 && !g.state.pass(p[:n]) {
		return 0, errNonsense
	}
	return n, err
}

// framing follows the frames of RESP2 replies.
type framing struct {
	// skip is how many bytes of a bulk string, with its line end, are left.
	skip int64
	// kind is the type of the line that is being read, 0 between elements.
	kind byte
	// number is the line's number for lengths; digits and negative say how it began.
	number   int64
	digits   int
	negative bool
	cr       bool
	// left are the elements that open arrays still have to get.
	left []int64
	// bytes and elements count what the reply has so far.
	bytes, elements int64
	bad             bool
}

// pass reports whether b goes on within bounds. After it has not, nothing passes.
func (f *framing) pass(b []byte) bool {
	for len(b) > 0 && !f.bad {
		if f.skip > 0 {
			n := min(f.skip, int64(len(b)))
			f.skip, b = f.skip-n, b[n:]
			if f.skip == 0 {
				f.element()
			}
			continue
		}
		if f.bytes++; f.bytes > maxReplyBytes {
			f.bad = true
			break
		}
		f.byte(b[0])
		b = b[1:]
	}
	return !f.bad
}

func (f *framing) byte(c byte) {
	switch {
	case f.kind == 0:
		f.begin(c)
	case f.cr:
		f.cr = false
		if c != '\n' {
			f.bad = true
			return
		}
		f.line()
	case c == '\r':
		f.cr = true
	case c == '\n':
		f.bad = true
	case f.kind == '$' || f.kind == '*':
		f.digit(c)
	}
}

func (f *framing) begin(c byte) {
	switch c {
	case '+', '-', ':', '$', '*':
		f.kind, f.number, f.digits, f.negative = c, 0, 0, false
	default:
		f.bad = true
	}
	if f.elements++; f.elements > maxReplyElements {
		f.bad = true
	}
}

func (f *framing) digit(c byte) {
	switch {
	case c == '-' && f.digits == 0 && !f.negative:
		f.negative = true
	case c < '0' || c > '9' || f.digits == 8:
		f.bad = true
	default:
		f.number, f.digits = f.number*10+int64(c-'0'), f.digits+1
	}
}

// line ends a line.
func (f *framing) line() {
	kind := f.kind
	f.kind = 0
	switch kind {
	case '+', '-', ':':
		f.element()
		return
	}
	switch {
	case f.digits == 0, f.negative && f.number != 1:
		f.bad = true
	case f.negative:
		f.element()
	case kind == '$':
		f.skip = f.number + 2
		if f.bytes += f.skip; f.bytes > maxReplyBytes {
			f.bad = true
		}
	case f.number == 0:
		f.element()
	case f.number > maxReplyElements-f.elements || len(f.left) == maxReplyDepth:
		f.bad = true
	default:
		f.left = append(f.left, f.number)
	}
}

// element ends an element, and the arrays that end with it.
func (f *framing) element() {
	for len(f.left) > 0 {
		last := len(f.left) - 1
		if f.left[last]--; f.left[last] > 0 {
			return
		}
		f.left = f.left[:last]
	}
	f.bytes, f.elements = 0, 0
}
