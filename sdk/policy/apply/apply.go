// Package apply does to an exchange what an action of a policy says.
//
// It is the one place where that happens: runtimes and package policytest use it
// alike, so that a policy's unit tests see what an upstream will see. An action is
// checked whole before any of it is applied: a policy that asks for something
// impossible has an error, and the exchange is as it was.
//
// A mutation of headers alone allocates nothing, so long as its names are in lower
// case and the exchange's lists have room.
package apply

import (
	"strings"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/internal/query"
)

// Request checks m as [CheckRequest] does and applies it to x, in the order of m's
// fields. Where the check fails, or where the change does not fit the request in
// hand, x is unchanged. A nil m changes nothing. phase is the one that answered m.
//
// In the chunk phases there are no mutations: see [policy.ChunkAction].
func Request(x *exchange.Exchange, phase policy.Phase, m *policy.RequestMutation) error {
	if m == nil {
		return nil
	}
	if err := CheckRequest(phase, m); err != nil {
		return err
	}
	return request(x, m)
}

// request applies a mutation that has been checked.
func request(x *exchange.Exchange, m *policy.RequestMutation) error {
	target, err := newTarget(x.Request.Path, m)
	if err != nil {
		return err
	}
	if m.Method != "" {
		x.Request.SetMethod(m.Method)
	}
	if m.Authority != "" {
		x.Request.SetAuthority(m.Authority)
	}
	x.Request.SetPath(target)
	headers(&x.Request.Headers, &m.Headers)
	headers(&x.Request.Trailers, &m.Trailers)
	if b, ok := m.Body.Bytes(); ok {
		x.Request.Body.Replace(b)
	}
	if m.Principal != nil {
		x.Principal = m.Principal
	}
	tell(x, m.Metadata, m.DynamicMetadata)
	return nil
}

// Response checks m as [CheckResponse] does and applies it to x. Where the check
// fails x is unchanged. A nil m changes nothing. phase is the one that answered m.
func Response(x *exchange.Exchange, phase policy.Phase, m *policy.ResponseMutation) error {
	if m == nil {
		return nil
	}
	if err := CheckResponse(phase, m); err != nil {
		return err
	}
	response(x, m)
	return nil
}

// response applies a mutation that has been checked.
func response(x *exchange.Exchange, m *policy.ResponseMutation) {
	if m.Status != 0 {
		x.Response.SetStatus(m.Status)
	}
	headers(&x.Response.Headers, &m.Headers)
	headers(&x.Response.Trailers, &m.Trailers)
	if b, ok := m.Body.Bytes(); ok {
		x.Response.Body.Replace(b)
	}
	tell(x, m.Metadata, m.DynamicMetadata)
}

func headers(h *exchange.Headers, m *policy.HeaderMutation) {
	for i := range m.Remove {
		h.Remove(m.Remove[i])
	}
	for i := range m.Set {
		h.Set(m.Set[i].Name, m.Set[i].Value)
	}
	for i := range m.OverwriteIfExists {
		h.OverwriteIfExists(m.OverwriteIfExists[i].Name, m.OverwriteIfExists[i].Value)
	}
	for i := range m.Append {
		h.Append(m.Append[i].Name, m.Append[i].Value)
	}
	for i := range m.AddIfAbsent {
		h.AddIfAbsent(m.AddIfAbsent[i].Name, m.AddIfAbsent[i].Value)
	}
}

func tell(x *exchange.Exchange, metadata, dynamic []policy.Entry) {
	for i := range metadata {
		x.Metadata.Set(metadata[i].Key, metadata[i].Value)
	}
	for i := range dynamic {
		x.Dynamic.Set(dynamic[i].Key, dynamic[i].Value)
	}
}

// newTarget returns what :path becomes.
func newTarget(target string, m *policy.RequestMutation) (string, error) {
	switch {
	case m.Path == "":
	case strings.Contains(m.Path, "?"):
		target = m.Path
	default:
		target = m.Path + target[len(pathOf(target)):]
	}
	if m.Query.IsZero() {
		return target, nil
	}
	path := pathOf(target)
	q := query.Start(strings.TrimPrefix(target[len(path):], "?"), len(path) < len(target))
	before, hadQuery := q.Query()
	for _, name := range m.Query.Remove {
		q.Remove(name)
	}
	for _, p := range m.Query.Set {
		q.Set(p.Name, p.Value)
	}
	for _, p := range m.Query.Append {
		q.Append(p.Name, p.Value)
	}
	raw, has := q.Query()
	if raw == before && has == hadQuery {
		return target, nil
	}
	if has && !strings.HasPrefix(path, "/") {
		// The asterisk form and CONNECT (RFC 9112, section 3.2) have none.
		return "", errNoQuery
	}
	if has {
		return path + "?" + raw, nil
	}
	return path, nil
}

// pathOf is the part of a target before the query.
func pathOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}
