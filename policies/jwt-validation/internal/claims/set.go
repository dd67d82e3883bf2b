package claims

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ErrType is returned where a registered claim has a type or a value that RFC 7519
// does not give it. Every error says which claim, and carries nothing of its value.
var ErrType = errors.New("a registered claim of a wrong type")

// Set is a token's claims. It is immutable and safe for concurrent use. It
// implements jwt.Claims.
type Set struct {
	all     map[string]any
	issuer  string
	subject string
	aud     jwt.ClaimStrings
	exp     date
	nbf     date
	iat     date
}

// date is a NumericDate that may be absent.
type date struct {
	jwt.NumericDate
	present bool
}

// New checks the registered claims' types. The caller must not modify all
// afterwards.
func New(all map[string]any) (*Set, error) {
	s := &Set{all: all}
	var ok bool
	if s.issuer, ok = text(all, "iss"); !ok {
		return nil, &problem{ErrType, "iss", notString}
	}
	if s.subject, ok = text(all, "sub"); !ok {
		return nil, &problem{ErrType, "sub", notString}
	}
	if s.aud, ok = audience(all); !ok {
		return nil, &problem{ErrType, "aud", "it is neither a string nor a list of strings"}
	}
	if !s.exp.read(all, "exp") {
		return nil, &problem{ErrType, "exp", notDate}
	}
	if !s.nbf.read(all, "nbf") {
		return nil, &problem{ErrType, "nbf", notDate}
	}
	if !s.iat.read(all, "iat") {
		return nil, &problem{ErrType, "iat", notDate}
	}
	return s, nil
}

const (
	notString = "it is not a string"
	notDate   = "it is not a number of seconds between 1970 and 9999"
)

// All returns every claim by name. It must not be modified.
func (s *Set) All() map[string]any { return s.all }

// Issuer is "iss", or empty.
func (s *Set) Issuer() string { return s.issuer }

// Subject is "sub", or empty.
func (s *Set) Subject() string { return s.subject }

// Expires is "exp"; the zero time where there is none.
func (s *Set) Expires() time.Time { return s.exp.Time }

// IssuedAt is "iat"; the zero time where there is none.
func (s *Set) IssuedAt() time.Time { return s.iat.Time }

// Scopes are the words of "scope" (RFC 8693, section 4.2) and of "scp", each of
// which issuers write as one string with spaces or as a list of strings. Anything
// else in them counts as no scope.
func (s *Set) Scopes() []string {
	return appendScopes(appendScopes(nil, s.all["scope"]), s.all["scp"])
}

func appendScopes(to []string, v any) []string {
	switch v := v.(type) {
	case string:
		if to == nil {
			to = make([]string, 0, strings.Count(v, " ")+1)
		}
		for v != "" {
			var word string
			if word, v, _ = strings.Cut(v, " "); word != "" {
				to = append(to, word)
			}
		}
	case []any:
		for _, e := range v {
			if word, ok := e.(string); ok && word != "" && !strings.Contains(word, " ") {
				to = append(to, word)
			}
		}
	}
	return to
}

// GetExpirationTime, and the five that follow, implement jwt.Claims.
func (s *Set) GetExpirationTime() (*jwt.NumericDate, error) { return s.exp.get(), nil }

// GetIssuedAt implements jwt.Claims.
func (s *Set) GetIssuedAt() (*jwt.NumericDate, error) { return s.iat.get(), nil }

// GetNotBefore implements jwt.Claims.
func (s *Set) GetNotBefore() (*jwt.NumericDate, error) { return s.nbf.get(), nil }

// GetIssuer implements jwt.Claims.
func (s *Set) GetIssuer() (string, error) { return s.issuer, nil }

// GetSubject implements jwt.Claims.
func (s *Set) GetSubject() (string, error) { return s.subject, nil }

// GetAudience implements jwt.Claims.
func (s *Set) GetAudience() (jwt.ClaimStrings, error) { return s.aud, nil }

// text is a claim that is a string where it is there.
func text(all map[string]any, name string) (string, bool) {
	v, there := all[name]
	s, ok := v.(string)
	return s, ok || !there
}

// audience is "aud": a string or a list of strings.
func audience(all map[string]any) (jwt.ClaimStrings, bool) {
	v, there := all["aud"]
	if !there {
		return nil, true
	}
	switch v := v.(type) {
	case string:
		return jwt.ClaimStrings{v}, true
	case []any:
		list := make(jwt.ClaimStrings, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			list[i] = s
		}
		return list, true
	}
	return nil, false
}

// maxDate is the last second of the year 9999: what lies beyond is no date that
// anybody means, and would not fit into a time.Time's own arithmetic.
const maxDate = 253402300799

func (d *date) read(all map[string]any, name string) bool {
	v, there := all[name]
	if !there {
		return true
	}
	f, ok := v.(float64)
	if n, long := v.(json.Number); long {
		// Fractions of a second may have many digits.
		var err error
		f, err = n.Float64()
		ok = err == nil
	}
	if !ok || !(f >= 0 && f <= maxDate) {
		return false
	}
	whole, fraction := math.Modf(f)
	d.Time = time.Unix(int64(whole), int64(fraction*1e9))
	d.present = true
	return true
}

func (d *date) get() *jwt.NumericDate {
	if !d.present {
		return nil
	}
	return &d.NumericDate
}
