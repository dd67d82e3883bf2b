package extproc

import (
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// visitor puts changes to headers into the reply, those that Envoy will make. It is
// the last line: what policies answer has been checked when it was applied. A change
// that Envoy would drop in silence, or fail the message for, is never sent.
type visitor struct {
	st  *stream
	err error
	// added is how many bytes of names and values are set.
	added int
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
		v.forbid(name)
		return
	}
	v.set(name, value, add)
}

// RemoveHeader implements exchange.ChangeVisitor.
func (v *visitor) RemoveHeader(name string) {
	if !v.allowed(name) {
		v.forbid(name)
		return
	}
	v.st.reply.RemoveHeader(name)
}

func (v *visitor) set(name, value string, add bool) {
	v.added += len(name) + len(value)
	v.st.reply.SetHeader(name, value, add)
}

// forbid refuses the change of a header.
func (v *visitor) forbid(name string) {
	v.err = refused(worker.FilterCannotServeChain, &changeCause{name})
}

// fits refuses what Envoy would fail the message for: it holds every message whose
// headers a reply changes, if only by removing one, to its limits. pseudo are the number
// and the bytes of the pseudo-headers that Envoy counts with the headers.
func (v *visitor) fits(h *exchange.Headers, pseudo size) {
	sets, removes := v.st.reply.Changes()
	if v.err != nil || sets+removes == 0 {
		return
	}
	response := v.st.in.Kind.IsResponse()
	limit := v.limit(response)
	total := size{h.Len() + pseudo.count, h.Size() + pseudo.bytes}
	switch {
	case sets+pseudo.count > limit.count || removes > limit.count:
		v.err = refused(worker.FilterCannotServeChain, &sizeCause{telemetry.AddedHeaders, headerCount, total.count, sets, limit.count})
	case v.added > limit.bytes:
		v.err = refused(worker.FilterCannotServeChain, &sizeCause{telemetry.AddedHeaders, headerBytes, total.bytes, v.added, limit.bytes})
	case total.count > limit.count:
		v.err = refused(headersTooLarge(response), &sizeCause{telemetry.HeaderCount, headerCount, total.count, sets, limit.count})
	case total.bytes > limit.bytes:
		v.err = refused(headersTooLarge(response), &sizeCause{telemetry.HeaderBytes, headerBytes, total.bytes, v.added, limit.bytes})
	}
}

// size is how large headers are, as Envoy counts.
type size struct{ count, bytes int }

// limit is what Envoy lets a message have.
func (v *visitor) limit(response bool) size {
	s := &v.st.allowed.settings
	l := size{s.HeaderLimit(), s.HeaderBytes()}
	if response {
		// What holds for a response is the upstream's cluster's, of which
		// nothing is known: a connection manager that takes less of a client
		// says nothing of it.
		l.count, l.bytes = max(l.count, negotiate.DefaultMaxHeaders), max(l.bytes, negotiate.DefaultMaxHeadersKB<<10)
	}
	return l
}

func headersTooLarge(response bool) worker.Reason {
	if response {
		return worker.ResponseHeadersTooLarge
	}
	return worker.HeadersTooLarge
}

// requestPseudo is the size of the request's pseudo-headers.
func requestPseudo(r *exchange.Request) (s size) {
	s.add(":method", r.Method)
	s.add(":scheme", r.Scheme)
	s.add(":authority", r.Authority)
	s.add(":path", r.Path)
	return s
}

// responsePseudo is the size of the response's, which is its status.
func responsePseudo() size { return size{1, len(":status") + len("200")} }

func (s *size) add(name, value string) {
	if value != "" {
		s.count++
		s.bytes += len(name) + len(value)
	}
}

// system sets a pseudo-header.
func (v *visitor) system(name, value string) {
	if !v.rules(name) || !policy.ValidHeaderValue(value) {
		v.forbid(name)
		return
	}
	v.set(name, value, false)
}
