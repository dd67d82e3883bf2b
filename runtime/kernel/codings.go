package kernel

import (
	"slices"
	"strings"

	"policyengine.dev/runtime/kernel/coding"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
)

// A body comes in the codings that content-encoding names when its headers come, and goes
// on in those that it names after the policies: a policy that removes the header, or sets
// another coding, has the body go on so.

const contentEncoding = "content-encoding"

// codings are those in which a body comes.
type codings struct {
	names coding.Codings
	// err is why they cannot be told, and undone says that they were undone for the
	// policies.
	err    error
	undone bool
}

// readCodings notes the codings in which the body of a direction will come.
func (e *Exchange) readCodings(d Direction) {
	if e.decodes(d) && e.BodyPending(d) {
		c := &e.sides[d].codings
		c.names, c.err = coding.Parse(e.headersOf(d).Values(contentEncoding))
	}
}

// decodes reports whether policies want the body of a direction plain.
func (e *Exchange) decodes(d Direction) bool {
	if d == Response {
		return e.needs.DecodeResponseBody
	}
	return e.needs.DecodeRequestBody
}

// decode undoes the codings of a whole body.
func (e *Exchange) decode(d Direction, b []byte) (plain []byte, err error) {
	c := &e.sides[d].codings
	switch {
	case len(b) == 0 && !e.MayHaveBody(d):
		// The headers tell of a body that does not come.
		return b, nil
	case c.err != nil:
		return nil, c.err
	}
	return c.names.Decode(b, e.BodyLimit(), e.takeKept)
}

// contentEncoding is what the headers of a direction say of codings, for a cause.
func (e *Exchange) contentEncoding(d Direction) string {
	return strings.Join(slices.Collect(e.headersOf(d).Values(contentEncoding)), ", ")
}

// encode returns the whole body as it is to go on, and whether that is another one than
// came.
func (e *Exchange) encode(d Direction) (b []byte, changed bool, err error) {
	c, body := &e.sides[d].codings, e.body(d)
	if !c.undone {
		return body.Bytes, body.Changed, nil
	}
	if !body.Changed && len(body.Bytes) == 0 {
		return nil, false, nil
	}
	left, err := coding.Parse(e.headersOf(d).Values(contentEncoding))
	if err != nil {
		return nil, false, Refused(worker.FilterCannotServeChain, &codingCause{telemetry.CodingNotKnown, e.contentEncoding(d), err})
	}
	if !body.Changed && slices.Equal(left, c.names) {
		return nil, false, nil
	}
	b, err = left.Encode(body.Bytes)
	e.addKept(int64(len(b)))
	return b, true, err
}
