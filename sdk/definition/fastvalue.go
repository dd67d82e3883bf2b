package definition

import (
	"encoding/json"
	"unicode/utf8"

	"policyengine.dev/sdk/strictyaml"
)

// fastValue reads one JSON value as parseValue does, in a fifth of the time, if nothing is wrong with it. Where ok is
// false something may be wrong, and parseValue finds out what.
func fastValue(data []byte) (value any, ok bool) {
	p := fastParser{data: data}
	p.space()
	value, ok = p.value(1)
	p.space()
	return value, ok && p.at == len(data)
}

// fastParser reads JSON (RFC 8259) from at on.
type fastParser struct {
	data []byte
	at   int
}

// next is the byte that comes next, or 0 at the end.
func (p *fastParser) next() byte {
	if p.at < len(p.data) {
		return p.data[p.at]
	}
	return 0
}

func (p *fastParser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// take goes on if the byte that comes next is c, and reports whether it is.
func (p *fastParser) take(c byte) bool {
	if p.next() != c {
		return false
	}
	p.at++
	return true
}

func (p *fastParser) value(depth int) (any, bool) {
	switch c := p.next(); {
	case depth > maxParamsDepth:
		return nil, false
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		s, ok := p.text()
		return s, ok
	case c == 't':
		return true, p.word("true")
	case c == 'f':
		return false, p.word("false")
	case c == 'n':
		return nil, p.word("null")
	}
	return p.number()
}

func (p *fastParser) word(word string) bool {
	end := p.at + len(word)
	if end > len(p.data) || string(p.data[p.at:end]) != word {
		return false
	}
	p.at = end
	return true
}

func (p *fastParser) number() (any, bool) {
	start := p.at
	for p.at < len(p.data) {
		if c := p.data[p.at]; (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			break
		}
		p.at++
	}
	s := string(p.data[start:p.at])
	return json.Number(s), strictyaml.ValidNumber(s)
}

// text reads a string. One with escapes is left to encoding/json.
func (p *fastParser) text() (string, bool) {
	if !p.take('"') {
		return "", false
	}
	start, escaped := p.at, false
	for p.at < len(p.data) {
		switch c := p.data[p.at]; {
		case c == '"':
			p.at++
			content := p.data[start : p.at-1]
			if !escaped {
				return string(content), utf8.Valid(content)
			}
			var s string
			err := json.Unmarshal(p.data[start-1:p.at], &s)
			return s, err == nil
		case c < ' ':
			return "", false
		case c == '\\':
			escaped = true
			p.at++
		}
		p.at++
	}
	return "", false
}

func (p *fastParser) object(depth int) (any, bool) {
	p.at++
	object := map[string]any{}
	p.space()
	if p.take('}') {
		return object, true
	}
	for {
		p.space()
		key, ok := p.text()
		if !ok {
			return nil, false
		}
		if _, twice := object[key]; twice {
			return nil, false
		}
		if p.space(); !p.take(':') {
			return nil, false
		}
		p.space()
		if object[key], ok = p.value(depth + 1); !ok {
			return nil, false
		}
		p.space()
		switch {
		case p.take('}'):
			return object, true
		case !p.take(','):
			return nil, false
		}
	}
}

func (p *fastParser) array(depth int) (any, bool) {
	p.at++
	array := []any{}
	p.space()
	if p.take(']') {
		return array, true
	}
	for {
		p.space()
		item, ok := p.value(depth + 1)
		if !ok {
			return nil, false
		}
		array = append(array, item)
		p.space()
		switch {
		case p.take(']'):
			return array, true
		case !p.take(','):
			return nil, false
		}
	}
}
