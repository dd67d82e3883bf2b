package extproc

import (
	"slices"
	"strings"

	"policyengine.dev/runtime/kernel/coding"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
)

// A body comes in the codings that content-encoding names when its headers come, and
// goes on in those that it names when policies have had their say: one that takes the
// header away, or sets another coding, has the body go on so.

const contentEncoding = "content-encoding"

// readCodings notes the codings in which the body of side s will come.
func (st *stream) readCodings(s *side) {
	if st.decodes(s) && s.bodyPhases() != 0 {
		s.codings, s.codingErr = coding.Parse(st.headersOf(s).Values(contentEncoding))
	}
}

// decodes reports whether policies want the side's body plain.
func (st *stream) decodes(s *side) bool {
	if s.base.IsResponse() {
		return st.needs.DecodeResponseBody
	}
	return st.needs.DecodeRequestBody
}

// decode undoes the codings of a whole body.
func (st *stream) decode(s *side, b []byte) (plain []byte, err error) {
	if len(b) == 0 && !st.mayHaveBody(s) {
		// The headers tell of a body that does not come.
		return b, nil
	}
	if s.codingErr != nil {
		return nil, s.codingErr
	}
	return s.codings.Decode(b, st.bodyLimit(), st.takeKept)
}

// contentEncoding is what the side's headers say of codings, for a cause.
func (st *stream) contentEncoding(s *side) string {
	return strings.Join(slices.Collect(st.headersOf(s).Values(contentEncoding)), ", ")
}

// encode returns the body as it is to go on, and whether that is another one than came.
func (st *stream) encode(s *side, body *exchange.Body) (b []byte, changed bool, err error) {
	if !s.decoded {
		return body.Bytes, body.Changed, nil
	}
	if !body.Changed && len(body.Bytes) == 0 {
		return nil, false, nil
	}
	left, err := coding.Parse(st.headersOf(s).Values(contentEncoding))
	if err != nil {
		return nil, false, refused(worker.FilterCannotServeChain, &codingCause{telemetry.CodingNotKnown, st.contentEncoding(s), err})
	}
	if !body.Changed && slices.Equal(left, s.codings) {
		return nil, false, nil
	}
	b, err = left.Encode(body.Bytes)
	st.addKept(int64(len(b)))
	return b, true, err
}
