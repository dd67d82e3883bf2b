package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"policyengine.dev/sdk/strictyaml"
)

// What parameters may come to.
const (
	maxParamsBytes = 1 << 20
	maxParamsDepth = 64
)

// parseValue reads one JSON value within bounds: encoding/json takes keys
// given twice and numbers that are expensive to compute with.
func parseValue(data []byte) (any, Problems) {
	if len(data) > maxParamsBytes {
		return nil, Problems{place{}.problem(fmt.Sprintf("has %d bytes", len(data)), fmt.Sprintf("at most %d are read", maxParamsBytes))}
	}
	if value, ok := fastValue(data); ok {
		return value, nil
	}
	return slowValue(data)
}

// slowValue finds everything that is wrong with a value.
func slowValue(data []byte) (any, Problems) {
	p := valueParser{decoder: json.NewDecoder(bytes.NewReader(data))}
	p.decoder.UseNumber()
	value, err := p.value(place{}, 1)
	if err == nil {
		if _, err = p.decoder.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else {
			err = errors.New("more than one value")
		}
	}
	if err != nil && !errors.Is(err, errTooDeep) {
		p.found = append(p.found, place{}.problem("not valid JSON", fmt.Sprintf("at byte %d", p.decoder.InputOffset())))
	}
	return value, p.found
}

type valueParser struct {
	decoder *json.Decoder
	found   Problems
}

var errTooDeep = errors.New("nested too deeply")

func (p *valueParser) value(at place, depth int) (any, error) {
	token, err := p.decoder.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxParamsDepth {
		p.found = append(p.found, at.problem("nested too deeply", fmt.Sprintf("at most %d levels are read", maxParamsDepth)))
		return nil, errTooDeep
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return p.object(at, depth)
		}
		return p.array(at, depth)
	case json.Number:
		if !strictyaml.ValidNumber(token.String()) {
			p.found = append(p.found, at.problem("a number out of range", "it must fit a 64-bit floating-point number, in at most 64 characters"))
			return json.Number("0"), nil
		}
	}
	return token, nil
}

func (p *valueParser) object(at place, depth int) (any, error) {
	object := map[string]any{}
	for p.decoder.More() {
		token, err := p.decoder.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string)
		if _, twice := object[key]; twice {
			p.found = append(p.found, at.key(key).problem("given twice", "keep one of the two"))
		}
		if object[key], err = p.value(at.key(key), depth+1); err != nil {
			return nil, err
		}
	}
	_, err := p.decoder.Token()
	return object, err
}

func (p *valueParser) array(at place, depth int) (any, error) {
	array := []any{}
	for p.decoder.More() {
		item, err := p.value(at.index(len(array)), depth+1)
		if err != nil {
			return nil, err
		}
		array = append(array, item)
	}
	_, err := p.decoder.Token()
	return array, err
}

// clone copies a value, so that a default can be filled in many times.
func clone(value any) any {
	switch v := value.(type) {
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, field := range v {
			object[key] = clone(field)
		}
		return object
	case []any:
		array := make([]any, len(v))
		for i, item := range v {
			array[i] = clone(item)
		}
		return array
	}
	return value
}

// weigh counts what a value consists of: keys, items and scalars.
func weigh(value any) int {
	weight := 1
	switch v := value.(type) {
	case map[string]any:
		for _, field := range v {
			weight += 1 + weigh(field)
		}
	case []any:
		for _, item := range v {
			weight += weigh(item)
		}
	case string:
		weight += len(v) / 16
	}
	return weight
}
