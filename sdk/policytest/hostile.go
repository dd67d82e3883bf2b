package policytest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"

	"policyengine.dev/sdk/policy"
)

// hostile makes requests and responses that are meant to break a policy. The same
// seed and parameters make the same ones.
type hostile struct {
	r *rand.Rand
	// words are strings of the policy's own parameters: names of headers,
	// query parameters and cookies that it looks at are among them.
	words []string
	// attributes are those that the policy reads.
	attributes []string
}

// hostile makes input for the policy with the subject's example.
func (s *subject) hostile(seed uint64) *hostile {
	h := newHostile(seed, s.example.Params)
	h.attributes = append(slices.Clone(s.policy.reads.Request), s.policy.reads.Response...)
	return h
}

func newHostile(seed uint64, params []byte) *hostile {
	h := &hostile{r: rand.New(rand.NewPCG(seed, uint64(len(params))))}
	var v any
	if json.Unmarshal(params, &v) == nil {
		h.collect(v)
	}
	return h
}

func (h *hostile) collect(v any) {
	switch v := v.(type) {
	case string:
		h.words = append(h.words, v)
	case []any:
		for _, e := range v {
			h.collect(e)
		}
	case map[string]any:
		for _, k := range sortedKeys(v) {
			h.words = append(h.words, k)
			h.collect(v[k])
		}
	}
}

var (
	hostileNames = []string{
		"authorization", "cookie", "accept", "content-type", "content-encoding", "content-length", "host", "origin", "range",
		"x-forwarded-for", "x-forwarded-proto", "traceparent", "x-api-key", "if-none-match", "via", "date", "a", "_", "x-" + strings.Repeat("y", 200),
	}
	hostileValues = []string{
		"", " ", ",", ";", "=", "\"", "a=b; a=c;;=", "a,b,,c", "*", "*/*;q=0", "Bearer", "Bearer ", "bearer x", "Basic !!!", "Basic OjpeOg==",
		"Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer ....", "0", "-1", "1e309", "9223372036854775808", "\xff\xfe", "%", "%zz%", "%00",
		"\u212a", "null", "{}", "[", "../../etc/passwd", "<script>", "' or 1=1", "bytes=0-,0-,0-", "1970-01-01T00:00:00Z", "::1", "203.0.113.7, x",
	}
	impossibleValues = []string{"\x00", "a\r\nb: c", "\x7f", "a\nb"}
	hostileTargets   = []string{
		"/", "*", "", "/?", "/?&&&", "/?=", "/?%", "/?a=%zz&a=%", "/%2e%2e/%2f", "//x//", "/a?b?c?d", "/?" + strings.Repeat("a&", 2000), "/\xff",
		"/?a=" + strings.Repeat("%61", 3000), "https://h/p", "/;p=1/q;r",
	}
	hostileMethods     = []string{"GET", "POST", "HEAD", "OPTIONS", "CONNECT", "X", "get", strings.Repeat("M", 300)}
	hostileAuthorities = []string{"example.com", "", ":", "[::1]:443", "a:99999", "EXAMPLE.com.", "\xff", strings.Repeat("h.", 500)}
	hostileTypes       = []string{"application/json", "application/json; charset=\xff", "text/plain", "multipart/form-data", "application/grpc", "application/x-www-form-urlencoded", "/"}
)

// exchange makes a request and its response. possible says that a proxy would hand
// them on and that they can be changed: there are no control characters in headers,
// and the target has a path.
func (h *hostile) exchange() (req Request, resp Response, possible bool) {
	possible = h.r.IntN(4) != 0
	req = Request{
		Method: pick(h.r, hostileMethods), Scheme: pick(h.r, []string{"https", "http", "x"}), Authority: pick(h.r, hostileAuthorities),
		Target: h.target(), Headers: h.headers(possible), Body: h.body(), Route: pick(h.r, []string{"", "route"}),
	}
	resp = Response{Status: pick(h.r, []int{200, 204, 304, 404, 500, 599, 101}), Headers: h.headers(possible), Body: h.body()}
	if h.r.IntN(2) == 0 {
		req.Chunks, resp.Chunks = h.pieces(req.Body), h.pieces(resp.Body)
	}
	if h.r.IntN(2) == 0 {
		req.Trailers, resp.Trailers = h.headers(possible), h.headers(possible)
	}
	if h.r.IntN(2) == 0 {
		req.Principal = &policy.Principal{Subject: h.value(true), Claims: map[string]any{"a": []any{nil, 1.0}}}
		req.Metadata = map[string]any{h.word(): h.value(true), "n": nil}
		req.Attributes = map[string]any{h.word(): map[string]any{}, "source.address": h.value(true)}
		for _, name := range h.attributes {
			req.Attributes[name] = pick(h.r, []any{h.value(true), "10.0.0.7:5000", "[2001:db8::1]:443", "", 0.0, 443.0, -1.5, true, nil, map[string]any{"a": "b"}, []any{"a"}})
		}
	}
	return req, resp, possible && strings.HasPrefix(req.Target, "/")
}

func (h *hostile) headers(possible bool) []policy.Header {
	var hs []policy.Header
	for range h.r.IntN(12) {
		name := pick(h.r, hostileNames)
		if h.r.IntN(2) == 0 {
			name = h.word()
		}
		// A proxy hands on tokens in lower case, and no pseudo-headers.
		if !policy.ValidHeaderName(name) {
			name = "x"
		}
		for range 1 + h.r.IntN(2) {
			hs = append(hs, policy.Header{Name: name, Value: h.value(possible)})
		}
	}
	return append(hs, policy.Header{Name: "content-type", Value: pick(h.r, hostileTypes)})
}

func (h *hostile) value(possible bool) string {
	switch n := h.r.IntN(10); {
	case n < 4:
		return pick(h.r, hostileValues)
	case n < 6:
		return h.word()
	case n == 6 && !possible:
		return pick(h.r, impossibleValues)
	case n == 7:
		return strings.Repeat(pick(h.r, []string{"a", ",", "=", "a.", "%41", "\xe2\x82"}), h.r.IntN(20_000))
	}
	return "Bearer " + base64.RawURLEncoding.EncodeToString([]byte(garbage(h.r))[:h.r.IntN(16)])
}

func (h *hostile) word() string {
	if len(h.words) == 0 {
		return "word"
	}
	return pick(h.r, h.words)
}

func (h *hostile) target() string {
	if h.r.IntN(2) == 0 {
		return pick(h.r, hostileTargets)
	}
	target := "/" + escape(h.word())
	for i := range h.r.IntN(5) {
		target += string("?&&&&"[i]) + escape(h.word()) + "=" + escape(pick(h.r, hostileValues))
	}
	return target
}

// escape percent-encodes a part of s, so that policies have something to decode.
func escape(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < utf8.RuneSelf && !strings.ContainsRune("?&#%", rune(c)) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

func (h *hostile) body() string {
	switch h.r.IntN(8) {
	case 0:
		return strings.Repeat("[", 100_000)
	case 1:
		return strings.Repeat(`{"a":`, 5000)
	case 2:
		return `{"` + h.word() + `":"` + h.word() + `","a":1e999,"a":null}`
	case 3:
		return garbage(h.r)
	case 4:
		return "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + garbage(h.r)
	case 5:
		return string(bytes.Repeat([]byte{0}, 300_000))
	case 6:
		return "a=1&b=%zz&=&" + h.word() + "=" + h.word()
	}
	return ""
}

func (h *hostile) pieces(body string) []string {
	pieces := []string{""}
	for len(body) > 0 && len(pieces) < 6 {
		n := h.r.IntN(len(body) + 1)
		pieces, body = append(pieces, body[:n]), body[n:]
	}
	return append(pieces, body)
}

// garbage is up to a kilobyte of anything.
func garbage(r *rand.Rand) string {
	b := make([]byte, 16+r.IntN(1000))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }
