package responsemasking

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
)

// masked is what a value becomes.
const masked = `"***"`

// maxDepth is how deeply a body may be nested in which values are masked.
const maxDepth = 128

// errNotJSON says that values cannot be found in a body.
var errNotJSON = errors.New("the body is not one JSON value")

// pointer is a compiled JSON pointer: its tokens, of which "*" stands for any.
type pointer []string

// anyToken stands for any name or index.
const anyToken = "*"

func compilePointer(s string) pointer {
	tokens := strings.Split(s, "/")[1:]
	for i, t := range tokens {
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(t)
	}
	return tokens
}

// replacer replaces the values of a JSON text at which pointers point. All else stays as
// it is, byte for byte.
type replacer struct {
	decoder *json.Decoder
	text    []byte
	out     []byte
	// copied is how much of text is in out.
	copied int64
}

// replace returns the text with the values of pointers masked.
func replace(text []byte, pointers []pointer) ([]byte, error) {
	r := &replacer{decoder: json.NewDecoder(bytes.NewReader(text)), text: text}
	r.decoder.UseNumber()
	if err := r.value(pointers, 0); err != nil {
		return nil, errNotJSON
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	return append(r.out, text[r.copied:]...), nil
}

// value reads one value. pointers are relative to it.
func (r *replacer) value(pointers []pointer, depth int) error {
	if depth > maxDepth {
		return errNotJSON
	}
	if len(pointers) == 0 {
		var skipped json.RawMessage
		return r.decoder.Decode(&skipped)
	}
	for _, p := range pointers {
		if len(p) == 0 {
			return r.mask()
		}
	}
	t, err := r.decoder.Token()
	if err != nil {
		return err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	for i := 0; r.decoder.More(); i++ {
		token := strconv.Itoa(i)
		if delim == '{' {
			name, err := r.decoder.Token()
			if err != nil {
				return err
			}
			token, _ = name.(string)
		}
		if err := r.value(below(pointers, token), depth+1); err != nil {
			return err
		}
	}
	_, err = r.decoder.Token()
	return err
}

// mask reads one value and masks it.
func (r *replacer) mask() error {
	var value json.RawMessage
	if err := r.decoder.Decode(&value); err != nil {
		return err
	}
	end := r.decoder.InputOffset()
	r.out = append(r.out, r.text[r.copied:end-int64(len(value))]...)
	r.out = append(r.out, masked...)
	r.copied = end
	return nil
}

// below are the pointers that lead on through a token.
func below(pointers []pointer, token string) []pointer {
	var inner []pointer
	for _, p := range pointers {
		if p[0] == token || p[0] == anyToken {
			inner = append(inner, p[1:])
		}
	}
	return inner
}
