package jsonschemavalidation

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"policyengine.dev/sdk/strictyaml"
)

// maxDepth is how deeply arrays and objects may be nested.
const maxDepth = 64

// errNotJSON has no details: the text is somebody else's.
var errNotJSON = errors.New("not a single JSON value that all parsers read in the same way")

// decode reads one JSON value (RFC 8259) as the schema library wants it. It refuses
// what another reader could understand differently: a name that occurs twice in an
// object, and invalid UTF-8; and what would cost too much: deep nesting, and numbers
// with huge exponents.
func decode(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, errNotJSON
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := decodeValue(d, 0)
	if err != nil {
		return nil, errNotJSON
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	return v, nil
}

func decodeValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, errNotJSON
		}
		if t == '{' {
			return decodeObject(d, depth+1)
		}
		return decodeArray(d, depth+1)
	case json.Number:
		if !strictyaml.ValidNumber(t.String()) {
			return nil, errNotJSON
		}
	}
	return t, nil
}

func decodeObject(d *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if _, twice := object[name]; !ok || twice {
			return nil, errNotJSON
		}
		if object[name], err = decodeValue(d, depth); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return object, err
}

func decodeArray(d *json.Decoder, depth int) (any, error) {
	array := []any{}
	for d.More() {
		v, err := decodeValue(d, depth)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
	}
	_, err := d.Token()
	return array, err
}
