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
