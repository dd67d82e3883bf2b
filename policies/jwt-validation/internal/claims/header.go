package claims

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"policyengine.dev/sdk/policy"
)

// ErrUnprintable is returned where a claim that is to go into a header cannot be
// one unambiguously. Every error says which claim and why, and carries nothing of its
// value.
var ErrUnprintable = errors.New("a claim that cannot be a header's value")

// Mapping says which header tells an upstream a claim.
type Mapping struct {
	Claim  Path              `json:"claim"`
	Header policy.HeaderName `json:"header"`
	// Encoding is how the claim is told. It is no parameter of every version.
	Encoding Encoding `json:"-"`
}

// CheckMappings returns what is wrong with mappings, each problem with the index in
// front. taken are the headers that tokens come in, in lower case.
func CheckMappings(mappings []Mapping, taken []string) []error {
	var problems []error
	for i := range mappings {
		m := &mappings[i]
		problem := func(field, format string, args ...any) {
			problems = append(problems, fmt.Errorf("[%d].%s: %w", i, field, fmt.Errorf(format, args...)))
		}
		if len(m.Claim) == 0 {
			problem("claim", "it is missing")
		}
		if err := policy.CheckHeaderEdit(string(m.Header)); err != nil {
			problem("header", "%q %w", m.Header, err)
		}
		if i := slices.IndexFunc(taken, func(name string) bool { return policy.AlikeHeaderNames(name, string(m.Header)) }); i >= 0 {
			problem("header", "%q also carries the token (%s)", m.Header, taken[i])
		}
		for _, o := range mappings[:i] {
			if o.Header == m.Header {
				problem("header", "%q already has another claim", m.Header)
				break
			}
		}
	}
	return problems
}

// HeaderNames are the headers of mappings, which the policy owns.
func HeaderNames(mappings []Mapping) []string {
	names := make([]string, len(mappings))
	for i := range mappings {
		names[i] = string(mappings[i].Header)
	}
	return names
}

// Headers renders the claims that mappings name, those that are there. A claim that is
// null or an empty string or list counts as absent.
func Headers(mappings []Mapping, all map[string]any) ([]policy.Header, error) {
	if len(mappings) == 0 {
		return nil, nil
	}
	set := make([]policy.Header, 0, len(mappings))
	for i := range mappings {
		m := &mappings[i]
		v, _ := m.Claim.Lookup(all)
		text, err := m.Encoding.render(v)
		if err != nil {
			return nil, &problem{ErrUnprintable, m.Claim.String(), err.Error()}
		}
		if text != "" {
			set = append(set, policy.Header{Name: string(m.Header), Value: text})
		}
	}
	return set, nil
}

// Why a value cannot be a header's.
var (
	errNotScalar  = errors.New("it is an object, or has one or a list within a list")
	errCharacters = errors.New("it has control characters, or white space at its ends")
	errListed     = errors.New("an element of its list is empty or has a comma")
	errLongNumber = errors.New("its number is too long")
)

// renderText writes a scalar as it is, and a list of scalars with commas between them.
func renderText(v any) (string, error) {
	list, ok := v.([]any)
	if !ok {
		return scalar(v)
	}
	words := make([]string, 0, len(list))
	for _, e := range list {
		word, err := scalar(e)
		if err != nil {
			return "", err
		}
		// A comma inside would make two elements of one, and an empty one
		// would be lost.
		if word == "" || strings.IndexByte(word, ',') >= 0 {
			return "", errListed
		}
		words = append(words, word)
	}
	return strings.Join(words, ","), nil
}

// longest is the number from which on a float64 would be written with zeros that were
// not in the token.
const longest = 1e21

func scalar(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		if !plain(v) {
			return "", errCharacters
		}
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		if math.Abs(v) >= longest {
			return "", errLongNumber
		}
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case json.Number:
		return v.String(), nil
	}
	return "", errNotScalar
}

// plain reports whether s arrives as it is: no control characters, and no white
// space at its ends, which a receiver takes off (RFC 9110, section 5.5).
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f {
			return false
		}
	}
	return s == "" || s[0] != ' ' && s[len(s)-1] != ' '
}
