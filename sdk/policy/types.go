package policy

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"policyengine.dev/sdk/exchange"
)

// Duration is a duration in parameters: a JSON string in Go's format, such as "200ms" or
// "1h30m".
type Duration time.Duration

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns d in Go's format.
func (d Duration) String() string { return time.Duration(d).String() }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it like 200ms, 5s or 1h30m", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// HeaderName is a header name in parameters, in lower case after decoding. Decoding refuses
// names that are not tokens of RFC 9110, such as pseudo-headers.
type HeaderName string

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *HeaderName) UnmarshalText(text []byte) error {
	if !ValidHeaderName(string(text)) {
		return fmt.Errorf("%q is not a header name: it consists of letters, digits and !#$%%&'*+-.^_`|~", text)
	}
	*h = HeaderName(exchange.Lower(string(text)))
	return nil
}

// HeaderValue is a header value in parameters. Decoding refuses values with control
// characters, which could end the line.
type HeaderValue string

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *HeaderValue) UnmarshalText(text []byte) error {
	if !ValidHeaderValue(string(text)) {
		// Not quoted: it may be a credential.
		return errors.New("not a header value: it has control characters")
	}
	*h = HeaderValue(text)
	return nil
}

// ValidHeaderName reports whether s is a token (RFC 9110, section 5.6.2).
func ValidHeaderName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenChar[s[i]] {
			return false
		}
	}
	return s != ""
}

// ValidHeaderValue reports whether s has none of the bytes that RFC 9110, section
// 5.5, forbids in a field value: control characters other than the tab, and DEL.
func ValidHeaderValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

var tokenChar = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// Secret is a secret in parameters: a string with the value itself, or an object with its
// location, {"file": "/run/secrets/key"} or {"env": "API_KEY"}. Mark such a parameter with
// x-secret in the schema. A Secret never prints, logs or marshals its value.
type Secret struct {
	// inline is the value itself; nil where File or Env is set. A pointer,
	// because package fmt goes past a type's methods where it finds it in an
	// unexported field or is given the wrong verb.
	inline *string
	// File is the path of a file whose content, without one trailing line break, is the
	// value.
	File string
	// Env is the name of an environment variable.
	Env string
}

// InlineSecret returns a secret with the value itself. An empty one is the zero value.
func InlineSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{inline: &value}
}

// Inline returns the value if the secret contains it, and whether it does.
func (s Secret) Inline() (string, bool) {
	if s.inline == nil {
		return "", false
	}
	return *s.inline, true
}

// Equal reports whether s and o have the same value, file or variable. It takes constant
// time. Do not compare secrets with "==".
func (s Secret) Equal(o Secret) bool {
	a, aInline := s.Inline()
	b, bInline := o.Inline()
	return aInline == bInline && s.File == o.File && s.Env == o.Env &&
		subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// IsZero reports whether the secret is not set.
func (s Secret) IsZero() bool { return s == Secret{} }

// UnmarshalJSON implements json.Unmarshaler.
func (s *Secret) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var v string
		if err := json.Unmarshal(b, &v); err != nil {
			return errors.New("decoding a secret: not a JSON string")
		}
		if v == "" {
			return errors.New("a secret is empty; give its value, {file: PATH} or {env: NAME}")
		}
		*s = InlineSecret(v)
		return nil
	}
	var fields map[string]string
	if json.Unmarshal(b, &fields) == nil && len(fields) == 1 {
		for name, value := range fields {
			switch {
			case value == "":
			case name == "file":
				*s = Secret{File: value}
				return nil
			case name == "env":
				*s = Secret{Env: value}
				return nil
			}
		}
	}
	return errors.New("a secret is a string, {file: PATH} or {env: NAME}, with one of them and not empty")
}

const redacted = "[redacted]"

// String never returns the value.
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "file:" + s.File
	case s.Env != "":
		return "env:" + s.Env
	}
	return redacted
}

// GoString never returns the value.
func (s Secret) GoString() string { return s.String() }

// Format prevents every verb of fmt from printing the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalJSON never writes the value.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// LogValue never returns the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
