package kernel

import (
	"errors"

	"policyengine.dev/sdk/policy"
)

// errCannot says that a change cannot be made on this message, or not with this
// filter. A change that Envoy would drop in silence is never sent.
var errCannot = errors.New("the change cannot be made")

// visitor puts changes to headers into the reply, those that Envoy will make. It is
// the last line: what policies answer has been checked when it was applied.
type visitor struct {
	st  *stream
	err error
}

// newVisitor is the stream's one visitor, anew.
func (st *stream) newVisitor() *visitor {
	st.visitor = visitor{st: st}
	return &st.visitor
}

const contentLength = "content-length"

// allowed reports whether the header may be changed.
func (v *visitor) allowed(name string) bool {
	return !v.st.allowed.settings.NoHeaders && (name == contentLength || policy.CheckHeaderEdit(name) == nil)
}

// SetHeader implements exchange.ChangeVisitor.
func (v *visitor) SetHeader(name, value string, add bool) {
	if !v.allowed(name) || !policy.ValidHeaderValue(value) {
		v.err = errCannot
		return
	}
	v.st.reply.SetHeader(name, value, add)
}

// RemoveHeader implements exchange.ChangeVisitor.
func (v *visitor) RemoveHeader(name string) {
	if !v.allowed(name) {
		v.err = errCannot
		return
	}
	v.st.reply.RemoveHeader(name)
}

// pseudoHeaders is how many pseudo-headers a message has at most that Envoy counts.
const pseudoHeaders = 4

// count refuses a result that Envoy would refuse, for all that is known of its
// limits: total is the number of headers that the message has now.
func (v *visitor) count(total int) {
	limit := v.st.allowed.settings.HeaderLimit()
	sets, removes := v.st.reply.Changes()
	if sets > limit || removes > limit || sets > 0 && total+pseudoHeaders > limit {
		v.err = errCannot
	}
}

// routing sets a pseudo-header that the mutation rules protect by default.
func (v *visitor) routing(name, value string) {
	if !v.st.allowed.settings.Routing {
		v.err = errCannot
		return
	}
	v.system(name, value)
}

// system sets a pseudo-header.
func (v *visitor) system(name, value string) {
	if s := &v.st.allowed.settings; s.NoSystem || s.NoHeaders || !policy.ValidHeaderValue(value) {
		v.err = errCannot
		return
	}
	v.st.reply.SetHeader(name, value, false)
}
