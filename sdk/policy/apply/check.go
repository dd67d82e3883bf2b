package apply

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"policyengine.dev/sdk/policy"
)

// Bounds of what an action may hold.
const (
	// maxProblems bounds how many problems an error lists.
	maxProblems = 16
	// maxQuoted bounds how much of a name an error quotes.
	maxQuoted = 64
	// maxDepth bounds the nesting of a dynamic metadata value.
	maxDepth = 32
	// maxValues bounds how many values a dynamic metadata value holds, itself
	// included. One that holds itself would have no end of them.
	maxValues = 10_000
	// maxReason bounds the length of a reason.
	maxReason = 64
)

var errNoQuery = errors.New("query: the request's target has no path that a query could follow")

// problems collects what is wrong with an action. It costs nothing until there is
// something. Header values never get into it: they may be secrets.
type problems []error

func (p *problems) add(format string, args ...any) {
	if len(*p) < maxProblems {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

func (p problems) err() error { return errors.Join(p...) }

// quote is for names, which a request may have brought.
func quote(s string) string {
	if len(s) > maxQuoted {
		return fmt.Sprintf("%q...", s[:maxQuoted])
	}
	return fmt.Sprintf("%q", s)
}

// CheckRequest returns every problem (up to 16, joined) for which m cannot be the
// answer of phase, or nil. A problem names the field and the header or parameter,
// never a value. A policy may call it in New on what it has prepared.
//
// Refused are: names and values that are not valid, and names that
// [policy.CheckHeaderEdit] refuses; a method, path or authority that is not valid
// (RFC 9110, section 9.1; RFC 3986, sections 3.2 and 3.3); a body outside of
// the body phase; trailers outside of the trailers phase, and anything that
// belongs to the headers within it; metadata without a key; dynamic metadata whose
// value is not in JSON's Go types, deeper than 32 levels, of more than 10,000 values, or
// not valid UTF-8.
func CheckRequest(phase policy.Phase, m *policy.RequestMutation) error {
	var p problems
	if phase.IsResponse() || phase == policy.RequestBodyChunks {
		p.add("a request cannot be changed in the phase %s", phase)
		return p.err()
	}
	p.parts(phase == policy.RequestTrailers, phase == policy.RequestBody, &m.Headers, &m.Trailers, m.Body)
	if phase == policy.RequestTrailers && (m.Method != "" || m.Authority != "" || m.Path != "" || !m.Query.IsZero()) {
		p.add("method, authority, path and query cannot be changed in the phase %s: the headers have been sent", phase)
	}
	if m.Method != "" && !policy.ValidHeaderName(m.Method) {
		p.add("method: not a token of letters, digits and !#$%%&'*+-.^_`|~")
	}
	if m.Authority != "" {
		p.authority(m.Authority)
	}
	if m.Path != "" {
		p.path(m.Path)
	}
	if !m.Query.IsZero() {
		p.query(&m.Query)
	}
	p.entries(m.Metadata, m.DynamicMetadata)
	return p.err()
}

// CheckSkip returns every problem for which s cannot be applied in the phase, or nil: a reason that
// is empty or not in the form of [Immediate], and what is wrong with its mutation, as in
// [CheckRequest]. A nil s is a problem too.
func CheckSkip(phase policy.Phase, s *policy.SkipRest) error {
	var p problems
	if s == nil {
		p.add("the action that skips the rest is nil")
		return p.err()
	}
	if s.Reason == "" {
		p.add("reason: it is empty")
	}
	p.reason(s.Reason)
	if phase.IsResponse() || phase == policy.RequestBodyChunks {
		p.add("the rest cannot be skipped in the phase %s", phase)
		return p.err()
	}
	if s.Mutation != nil {
		return errors.Join(p.err(), CheckRequest(phase, s.Mutation))
	}
	return p.err()
}

// CheckResponse is [CheckRequest] for a response's mutation. A status has to be
// 200 to 599.
func CheckResponse(phase policy.Phase, m *policy.ResponseMutation) error {
	var p problems
	if !phase.IsResponse() || phase == policy.ResponseBodyChunks {
		p.add("a response cannot be changed in the phase %s", phase)
		return p.err()
	}
	p.parts(phase == policy.ResponseTrailers, phase == policy.ResponseBody, &m.Headers, &m.Trailers, m.Body)
	if m.Status != 0 {
		if phase == policy.ResponseTrailers {
			p.add("status cannot be changed in the phase %s: the headers have been sent", phase)
		}
		p.status(m.Status)
	}
	p.entries(m.Metadata, m.DynamicMetadata)
	return p.err()
}

// Immediate returns every problem for which ir cannot be sent, or nil: a status
// outside of 200 to 599, a body where the status has none (RFC 9110, sections 15.3.5
// and 15.4.5), headers as in [CheckRequest], a gRPC status outside of 0 to 16, a
// reason that does not consist of up to 64 upper case letters, digits and
// underscores. A nil ir is a problem too.
func Immediate(ir *policy.ImmediateResponse) error {
	var p problems
	if ir == nil {
		p.add("the immediate response is nil")
		return p.err()
	}
	p.status(ir.Status)
	if (ir.Status == 204 || ir.Status == 304) && len(ir.Body) > 0 {
		p.add("body: a response with status %d has none", ir.Status)
	}
	p.fields("headers", ir.Headers)
	if g := ir.GRPCStatus; g != nil && (*g < 0 || *g > 16) {
		p.add("gRPC status: %d is not between 0 and 16", *g)
	}
	p.reason(ir.Reason)
	return p.err()
}

func (p *problems) parts(inTrailers, inBody bool, headers, trailers *policy.HeaderMutation, body policy.Body) {
	if inTrailers && !headers.IsZero() {
		p.add("headers: they cannot be changed in the trailers phase, having been sent")
	}
	if !inTrailers && !trailers.IsZero() {
		p.add("trailers: they can be changed in the trailers phase only")
	}
	if _, ok := body.Bytes(); ok && !inBody {
		p.add("body: it can be replaced in the body phase only")
	}
	p.mutation("headers", headers)
	p.mutation("trailers", trailers)
}

// mutation has the lists checked only where there is something in them, and builds
// their names only where something is wrong.
func (p *problems) mutation(where string, m *policy.HeaderMutation) {
	for i, name := range m.Remove {
		if err := policy.CheckHeaderEdit(name); err != nil {
			p.add("%s.remove[%d]: %s %w", where, i, quote(name), err)
		}
	}
	p.list(where, "set", m.Set)
	p.list(where, "overwriteIfExists", m.OverwriteIfExists)
	p.list(where, "append", m.Append)
	p.list(where, "addIfAbsent", m.AddIfAbsent)
}

func (p *problems) list(where, kind string, hs []policy.Header) {
	if firstBad(hs) >= 0 {
		p.fields(where+"."+kind, hs)
	}
}

func firstBad(hs []policy.Header) int {
	for i := range hs {
		if policy.CheckHeaderEdit(hs[i].Name) != nil || !policy.ValidHeaderValue(hs[i].Value) {
			return i
		}
	}
	return -1
}

func (p *problems) fields(where string, hs []policy.Header) {
	for i := range hs {
		if err := policy.CheckHeaderEdit(hs[i].Name); err != nil {
			p.add("%s[%d]: %s %w", where, i, quote(hs[i].Name), err)
		}
		if !policy.ValidHeaderValue(hs[i].Value) {
			p.add("%s[%d]: the value of %s has control characters", where, i, quote(hs[i].Name))
		}
	}
}

func (p *problems) status(s int) {
	if s < 200 || s > 599 {
		p.add("status: %d is not between 200 and 599", s)
	}
}

func (p *problems) reason(r string) {
	if len(r) > maxReason {
		p.add("reason: it is longer than %d characters", maxReason)
	}
	for i := 0; i < len(r); i++ {
		if c := r[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			p.add("reason: it has other characters than upper case letters, digits and underscores")
			return
		}
	}
}

// path does not quote: a query may hold secrets.
func (p *problems) path(s string) {
	if s[0] != '/' && s != "*" {
		p.add("path: it begins with %q, not with a slash", s[:1])
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' {
			p.add("path: it has the byte 0x%02x at position %d, which must be percent-encoded", c, i)
			return
		}
	}
}

// authority takes a host or an IP literal and a port (RFC 3986, section 3.2, without
// user information, which RFC 9110, section 4.2.4, keeps out of requests).
func (p *problems) authority(s string) {
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
		if port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
			p.add("authority: it has no port of digits after its last colon")
			return
		}
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		if !ok || literal == "" || strings.Trim(literal, "0123456789abcdefABCDEF:.") != "" {
			p.add("authority: it has no IPv6 address between its brackets")
		}
		return
	}
	if host == "" {
		p.add("authority: it has no host")
	}
	for i := 0; i < len(host); i++ {
		if c := host[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`/?#[]@:\"<>^{|}`+"`", c) >= 0 {
			p.add("authority: not a host: it has the byte 0x%02x at position %d", c, i)
			return
		}
	}
}

func (p *problems) query(m *policy.QueryMutation) {
	for i, name := range m.Remove {
		if name == "" {
			p.add("query.remove[%d]: the name is empty", i)
		}
	}
	for i := range m.Set {
		if m.Set[i].Name == "" {
			p.add("query.set[%d]: the name is empty", i)
		}
	}
	for i := range m.Append {
		if m.Append[i].Name == "" {
			p.add("query.append[%d]: the name is empty", i)
		}
	}
}

func (p *problems) entries(metadata, dynamic []policy.Entry) {
	for i := range metadata {
		if metadata[i].Key == "" {
			p.add("metadata[%d]: the key is empty", i)
		}
	}
	for i := range dynamic {
		key := dynamic[i].Key
		if key == "" || !utf8.ValidString(key) {
			p.add("dynamic metadata[%d]: the key is empty or not UTF-8", i)
			continue
		}
		left := maxValues
		if err := checkValue(dynamic[i].Value, maxDepth, &left); err != nil {
			p.add("dynamic metadata %s: %w", quote(key), err)
		}
	}
}

// checkValue says why v cannot become a google.protobuf.Value. left is how many more
// values there may be.
func checkValue(v any, depth int, left *int) error {
	if depth == 0 {
		return fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	}
	if *left--; *left < 0 {
		return fmt.Errorf("it holds more than %d values", maxValues)
	}
	switch v := v.(type) {
	case nil, bool:
	case string:
		if !utf8.ValidString(v) {
			return errors.New("it holds a string that is not UTF-8")
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errors.New("it holds a number that JSON does not have")
		}
	case []any:
		for _, e := range v {
			if err := checkValue(e, depth-1, left); err != nil {
				return err
			}
		}
	case map[string]any:
		for k, e := range v {
			if !utf8.ValidString(k) {
				return errors.New("it holds a key that is not UTF-8")
			}
			if err := checkValue(e, depth-1, left); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("it holds a %T; string, float64, bool, nil, []any and map[string]any are possible", v)
	}
	return nil
}
