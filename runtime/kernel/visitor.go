package kernel

import (
	"errors"

	"policyengine.dev/runtime/kernel/filter"
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
	return (name == contentLength || policy.CheckHeaderEdit(name) == nil) && v.rules(name)
}

// rules reports whether the filter's mutation rules let the header be changed.
func (v *visitor) rules(name string) bool {
	k, s := v.st.kernel, &v.st.allowed.settings
	if v.st.allowed == k.declared { // a stamp says nothing of expressions
		if allowed, decided := k.options.FilterExpressions.Decide(name); decided {
			return allowed
		}
	}
	switch name {
	case ":method", ":authority":
		return s.Routing && !s.NoSystem && !s.NoHeaders
	case ":path", ":status":
		return !s.NoSystem && !s.NoHeaders
	}
	return !s.NoHeaders
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

// requestPseudo and responsePseudo are how many pseudo-headers a message has that Envoy
// counts with its headers.
const (
	requestPseudo  = 4 // :method, :scheme, :authority, :path
	responsePseudo = 1 // :status
)

// count refuses a result that Envoy would refuse, for all that is known of its
// limits: total is the number of headers that the message has now.
func (v *visitor) count(total int) {
	limit, pseudo := v.st.allowed.settings.HeaderLimit(), requestPseudo
	if v.st.in.Kind.IsResponse() {
		// What holds for a response is the upstream's cluster's, of which
		// nothing is known: a connection manager that takes fewer headers
		// of a client says nothing of it.
		limit, pseudo = max(limit, filter.DefaultMaxHeaders), responsePseudo
	}
	sets, removes := v.st.reply.Changes()
	if sets > limit || removes > limit || sets > 0 && total+pseudo > limit {
		v.err = errCannot
	}
}

// system sets a pseudo-header.
func (v *visitor) system(name, value string) {
	if !v.rules(name) || !policy.ValidHeaderValue(value) {
		v.err = errCannot
		return
	}
	v.st.reply.SetHeader(name, value, false)
}
