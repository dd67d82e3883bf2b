package auditlog

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// maxText is the longest text that a line shows of anything, in bytes.
const maxText = 1024

// maxLine is the longest line, in bytes: a longer one loses its headers and claims.
const maxLine = 32 << 10

// entry is one line.
type entry struct {
	Time            time.Time           `json:"time"`
	Event           string              `json:"event"`
	Shadow          bool                `json:"shadow,omitempty"`
	RequestID       string              `json:"request_id,omitempty"`
	Route           string              `json:"route,omitempty"`
	Method          string              `json:"method"`
	Authority       string              `json:"authority"`
	Path            string              `json:"path"`
	Query           string              `json:"query,omitempty"`
	Subject         string              `json:"subject,omitempty"`
	Issuer          string              `json:"issuer,omitempty"`
	Claims          map[string]any      `json:"claims,omitempty"`
	RequestHeaders  map[string][]string `json:"request_headers,omitempty"`
	Status          int                 `json:"status,omitempty"`
	ResponseHeaders map[string][]string `json:"response_headers,omitempty"`
	DurationMS      *float64            `json:"duration_ms,omitempty"`
	Truncated       bool                `json:"truncated,omitempty"`

	query, queryShown string
}

// line encodes the entry: redacted, bounded, and with a line break at its end.
func (e *entry) line(redact *regexp.Regexp) []byte {
	s := shortener{redact: redact}
	switch e.queryShown {
	case "all":
		e.Query = e.query
	case "names":
		e.Query = names(e.query)
	}
	e.Time = e.Time.UTC()
	for _, text := range []*string{&e.RequestID, &e.Route, &e.Method, &e.Authority, &e.Path, &e.Query, &e.Subject, &e.Issuer} {
		*text = s.text(*text)
	}
	e.RequestHeaders, e.ResponseHeaders = s.fields(e.RequestHeaders), s.fields(e.ResponseHeaders)
	claims := make(map[string]any, len(e.Claims))
	for name, v := range e.Claims {
		claims[name] = s.claim(v)
	}
	e.Claims, e.Truncated = claims, s.truncated
	b, err := json.Marshal(e)
	if err != nil || len(b) > maxLine {
		e.Claims, e.RequestHeaders, e.ResponseHeaders, e.Truncated = nil, nil, nil, true
		if b, err = json.Marshal(e); err != nil {
			b = []byte(`{"event":"error"}`)
		}
	}
	return append(b, '\n')
}

// shortener redacts and shortens texts.
type shortener struct {
	redact    *regexp.Regexp
	truncated bool
}

func (s *shortener) text(v string) string {
	// Beyond a multiple of what is shown, redaction would only cost time.
	const most = 4 * maxText
	if len(v) > most {
		v, s.truncated = v[:most], true
	}
	if s.redact != nil {
		v = s.redact.ReplaceAllLiteralString(v, "[redacted]")
	}
	if len(v) > maxText {
		v, s.truncated = v[:maxText], true
	}
	return strings.ToValidUTF8(v, "\uFFFD")
}

// fields returns a redacted copy.
func (s *shortener) fields(all map[string][]string) map[string][]string {
	if all == nil {
		return nil
	}
	shown := make(map[string][]string, len(all))
	for name, values := range all {
		for _, v := range values {
			shown[name] = append(shown[name], s.text(v))
		}
	}
	return shown
}

// claim is a claim as it is shown: a text, number or bool as itself, and anything else
// as text.
func (s *shortener) claim(v any) any {
	switch v := v.(type) {
	case nil, bool, float64, json.Number:
		return v
	case string:
		return s.text(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("[%T]", v)
	}
	return s.text(string(b))
}

// names are the names of a query's parameters, without their values.
func names(query string) string {
	var all []string
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		all = append(all, name)
	}
	return strings.Join(all, "&")
}
