package translation_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"policyengine.dev/envoy_test/policies/probe/v1.0.0"
)

// sequence is a chain of policies that change headers, and an exchange that passes
// it. All of it follows from the seed.
type sequence struct {
	seed  uint64
	chain []policy
	// body says that both messages have a body, and http2 that the client
	// speaks HTTP/2.
	body, http2 bool
	// request and response are the headers that client and upstream send.
	request, response message
	// requestTrailers and responseTrailers come after a body; nil are none.
	requestTrailers, responseTrailers message
}

// policy is what a policy of the chain does in each phase.
type policy struct {
	requestHeaders, requestBody, requestTrailers, responseHeaders, responseBody, responseTrailers *probe.Edits
}

// message are headers that are sent: each name once, in any case.
type message map[string][]string

// The names that are sent and changed. To those in lists Envoy keeps one line: what
// is added comes after a comma.
var (
	requestNames  = []string{"x-a", "x-bb", "x-ccc", "x_d", "x-with-a-longer-name", "accept-language", "traceparent", "cookie", "accept", "authorization"}
	responseNames = []string{"x-a", "x-bb", "x-ccc", "x_d", "x-with-a-longer-name", "retry-after", "set-cookie", "vary", "cache-control", "etag"}
	lists         = map[string]string{"cookie": "; ", "accept": ",", "authorization": ",", "vary": ",", "cache-control": ",", "etag": ","}
)

// trailerNames are those of trailers.
var trailerNames = []string{"x-t", "x-tt", "x_ttt"}

// generate makes the sequence of a seed. Trailers take HTTP/2 on both legs.
func generate(seed uint64, trailers bool) sequence {
	r := rand.New(rand.NewPCG(seed, 1))
	s := sequence{seed: seed, body: r.IntN(2) == 0, http2: r.IntN(3) == 0}
	s.request, s.response = someMessage(r, requestNames), someMessage(r, responseNames)
	if trailers {
		s.body, s.http2 = true, true
		s.requestTrailers, s.responseTrailers = someMessage(r, trailerNames), someMessage(r, trailerNames)
	}
	ofRequest, ofResponse := some(r, requestNames, 4), some(r, responseNames, 4)
	for range 1 + r.IntN(5) {
		p := policy{requestHeaders: someEdits(r, ofRequest), responseHeaders: someEdits(r, ofResponse)}
		if r.IntN(2) == 0 {
			p.requestBody = someEdits(r, ofRequest)
		}
		if r.IntN(2) == 0 {
			p.responseBody = someEdits(r, ofResponse)
		}
		// Policies of one direction alone, and of the body alone.
		switch r.IntN(4) {
		case 0:
			p.responseHeaders, p.responseBody = nil, nil
		case 1:
			p.requestHeaders, p.requestBody = nil, nil
		case 2:
			p = policy{requestBody: p.requestHeaders, responseBody: p.responseHeaders}
		}
		if trailers {
			p.requestTrailers, p.responseTrailers = someEdits(r, trailerNames), someEdits(r, trailerNames)
		}
		s.chain = append(s.chain, p)
	}
	return s
}

func someMessage(r *rand.Rand, names []string) message {
	m := message{}
	for _, name := range names {
		if r.IntN(2) == 0 {
			continue
		}
		var values []string
		for range 1 + r.IntN(3) {
			values = append(values, someValue(r, name))
		}
		m[name] = values
	}
	return m
}

// some are n of the names: of few, so that edits meet.
func some(r *rand.Rand, names []string, n int) []string {
	names = slices.Clone(names)
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:n]
}

func someEdits(r *rand.Rand, names []string) *probe.Edits {
	fields := func() (all []probe.Field) {
		for range r.IntN(3) {
			name := names[r.IntN(len(names))]
			all = append(all, probe.Field{Name: someCase(r, name), Hex: hex.EncodeToString([]byte(someValue(r, name)))})
		}
		return all
	}
	e := &probe.Edits{Set: fields(), Append: fields(), AddIfAbsent: fields(), OverwriteIfExists: fields()}
	for range r.IntN(3) {
		e.Remove = append(e.Remove, someCase(r, names[r.IntN(len(names))]))
	}
	return e
}

// someCase is a name with its letters in any case.
func someCase(r *rand.Rand, name string) string {
	b := []byte(name)
	for i := range b {
		if r.IntN(3) == 0 {
			b[i] = strings.ToUpper(name)[i]
		}
	}
	return string(b)
}

// someValue is a value as HTTP lets it be: without space at its ends, which is not a part
// of it (RFC 9110, section 5.5).
func someValue(r *rand.Rand, name string) string {
	if name == "cookie" {
		return fmt.Sprintf("%c=%d", 'a'+r.IntN(3), r.IntN(100)) // crumbs, which HTTP/2 takes apart
	}
	switch r.IntN(8) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("%d, b\tc", r.IntN(100))
	case 2:
		return strings.Repeat("long ", 1+r.IntN(100)) + "."
	case 3, 4:
		b := make([]byte, 1+r.IntN(20))
		for i := range b {
			b[i] = byte(0x80 + r.IntN(0x80))
		}
		return string(b)
	}
	return fmt.Sprint(r.IntN(100))
}

// route is the name of the sequence's route and chain.
func (s sequence) route() string { return fmt.Sprintf("s%d", s.seed) }

// config is the chain as an operator writes it.
func (s sequence) config() map[string]any {
	var policies []any
	for i, p := range s.chain {
		params := map[string]any{}
		for phase, edits := range map[string]*probe.Edits{
			"requestHeaders": p.requestHeaders, "requestBody": p.requestBody, "requestTrailers": p.requestTrailers,
			"responseHeaders": p.responseHeaders, "responseBody": p.responseBody, "responseTrailers": p.responseTrailers,
		} {
			what := "headers"
			if strings.HasSuffix(phase, "Trailers") {
				what = "trailers"
			}
			if edits != nil {
				params[phase] = map[string]any{what: parts(edits)}
			}
		}
		policies = append(policies, map[string]any{"name": "probe", "version": "v1.0.0", "id": fmt.Sprintf("p%d", i), "params": params})
	}
	return map[string]any{"name": s.route(), "policies": policies}
}

// parts leaves out what is empty: null is not a list.
func parts(e *probe.Edits) map[string]any {
	all := map[string]any{}
	if len(e.Remove) > 0 {
		all["remove"] = e.Remove
	}
	for part, fields := range map[string][]probe.Field{
		"set": e.Set, "append": e.Append, "addIfAbsent": e.AddIfAbsent, "overwriteIfExists": e.OverwriteIfExists,
	} {
		var list []any
		for _, f := range fields {
			list = append(list, map[string]any{"name": f.Name, "hex": f.Hex})
		}
		if list != nil {
			all[part] = list
		}
	}
	return all
}

// String shows the sequence as one who looks into a failure wants it.
func (s sequence) String() string {
	chain, err := json.MarshalIndent(s.config(), "", " ")
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("body %t, http2 %t\nthe client sends %q and %q\nthe upstream sends %q and %q\n%s",
		s.body, s.http2, s.request, s.requestTrailers, s.response, s.responseTrailers, chain)
}

// atUpstream is what the model leaves of the request's headers: those phases that
// read the body come after those that do not, each in the chain's order.
func (s sequence) atUpstream() message {
	m := s.request.clone()
	for _, p := range s.chain {
		m.apply(p.requestHeaders)
	}
	for _, p := range s.chain {
		m.apply(p.requestBody)
	}
	return m
}

// atClient is what it leaves of the response's, in the reverse order.
func (s sequence) atClient() message {
	m := s.response.clone()
	for _, p := range slices.Backward(s.chain) {
		m.apply(p.responseHeaders)
	}
	for _, p := range slices.Backward(s.chain) {
		m.apply(p.responseBody)
	}
	return m
}

// trailersAtUpstream is what is left of the request's trailers. Where there are none
// no policy is asked.
func (s sequence) trailersAtUpstream() message {
	m := s.requestTrailers.clone()
	for _, p := range s.chain {
		if len(s.requestTrailers) > 0 {
			m.apply(p.requestTrailers)
		}
	}
	return m
}

// trailersAtClient is what is left of the response's.
func (s sequence) trailersAtClient() message {
	m := s.responseTrailers.clone()
	for _, p := range slices.Backward(s.chain) {
		if len(s.responseTrailers) > 0 {
			m.apply(p.responseTrailers)
		}
	}
	return m
}

func (m message) clone() message {
	all := message{}
	for name, values := range m {
		all[name] = slices.Clone(values)
	}
	return all
}

// apply does what the documentation of policy.HeaderMutation says.
func (m message) apply(e *probe.Edits) {
	if e == nil {
		return
	}
	for _, name := range e.Remove {
		delete(m, strings.ToLower(name))
	}
	each := func(fields []probe.Field, do func(name, value string)) {
		for _, f := range fields {
			value, err := hex.DecodeString(f.Hex)
			if err != nil {
				panic(err) // it was encoded here
			}
			do(strings.ToLower(f.Name), string(value))
		}
	}
	set := func(name, value string) { m[name] = []string{value} }
	add := func(name, value string) { m[name] = append(m[name], value) }
	each(e.Set, set)
	each(e.OverwriteIfExists, func(name, value string) {
		if len(m[name]) > 0 {
			set(name, value)
		}
	})
	each(e.Append, add)
	each(e.AddIfAbsent, func(name, value string) {
		if len(m[name]) == 0 {
			add(name, value)
		}
	})
}

// compare says of which of the names the values are others than the model's.
func (m message) compare(got http.Header, names []string) []string {
	var differences []string
	for _, name := range names {
		want, is := m[name], got[http.CanonicalHeaderKey(name)]
		if !slices.Equal(values(name, is), values(name, want)) {
			differences = append(differences, fmt.Sprintf("%s is %q, want %q", name, is, want))
		}
	}
	return differences
}

// values are a name's values; those of a list on one line, without the empty ones.
func values(name string, all []string) []string {
	separator, list := lists[name]
	if !list {
		return all
	}
	all = slices.DeleteFunc(slices.Clone(all), func(v string) bool { return v == "" })
	if len(all) == 0 {
		return nil
	}
	return []string{strings.Join(all, separator)}
}
