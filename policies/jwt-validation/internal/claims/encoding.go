package claims

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Encoding is how a claim is told in a header. The zero value is text.
type Encoding string

const (
	// Text writes strings, numbers and booleans as they are, and lists of them with
	// commas. It can tell nothing else.
	Text Encoding = "text"
	// JSON writes any value as compact JSON in ASCII, the members of objects sorted.
	JSON Encoding = "json"
	// Base64URL writes that JSON in base64url without padding (RFC 4648, section 5).
	Base64URL Encoding = "base64url"
)

// maxEncoded bounds a value in JSON or base64url, in bytes.
const maxEncoded = 16 << 10

var errTooLong = fmt.Errorf("it is longer than %d bytes when encoded", maxEncoded)

// Check says why e is no encoding.
func (e Encoding) Check() error {
	switch e {
	case "", Text, JSON, Base64URL:
		return nil
	}
	return errors.New("must be text, json or base64url")
}

// render returns a header's value, or "" where the claim counts as absent.
func (e Encoding) render(v any) (string, error) {
	if e == "" || e == Text {
		return renderText(v)
	}
	if list, ok := v.([]any); v == nil || v == "" || ok && len(list) == 0 {
		return "", nil
	}
	text, err := compact(v)
	switch {
	case err != nil:
		return "", err
	case e == Base64URL && base64.RawURLEncoding.EncodedLen(len(text)) > maxEncoded, len(text) > maxEncoded:
		return "", errTooLong
	case e == Base64URL:
		return base64.RawURLEncoding.EncodeToString(text), nil
	}
	return string(text), nil
}

// compact writes v as JSON in ASCII: what is beyond could not be told from a header's
// other encodings, and control characters are escaped by JSON itself.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, errors.New("it cannot be written as JSON")
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		switch {
		case r < 0x7f:
			out = append(out, byte(r))
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out, nil
}
