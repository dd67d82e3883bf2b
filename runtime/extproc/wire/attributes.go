package wire

import (
	"iter"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Field numbers of google.protobuf.Value.
const (
	valueNull   = 1
	valueNumber = 2
	valueString = 3
	valueBool   = 4
)

// Attributes are Envoy's attributes in the form in which they came: a
// google.protobuf.Struct that is known to be well formed. The zero value has none.
// Safe for concurrent use.
type Attributes string

// Text returns a string attribute, and whether there is one of that name.
func (a Attributes) Text(name string) (string, bool) {
	v, ok := a.find(name)
	if !ok || len(v) == 0 || v[0] != tag(valueString, protowire.BytesType) {
		return "", false
	}
	_, n := varint(v[1:])
	return string(v[1+n:]), true
}

// Lookup returns an attribute as a string, float64, bool, nil, []any or
// map[string]any, and whether there is one of that name.
func (a Attributes) Lookup(name string) (any, bool) {
	v, ok := a.find(name)
	if !ok {
		return nil, false
	}
	return v.value()
}

// All yields every attribute once, in the order of their last occurrence.
func (a Attributes) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for rest := a; len(rest) > 0; {
			var name, val Attributes
			name, val, rest = rest.next()
			if _, again := rest.find(string(name)); again {
				continue
			}
			if v, ok := val.value(); ok && !yield(string(name), v) {
				return
			}
		}
	}
}

// value reads a google.protobuf.Value.
func (a Attributes) value() (any, bool) {
	if len(a) == 0 {
		return nil, true
	}
	switch a[0] {
	case tag(valueString, protowire.BytesType):
		_, n := varint(a[1:])
		return string(a[1+n:]), true
	case tag(valueBool, protowire.VarintType):
		return a[1] != 0, true
	case tag(valueNumber, protowire.Fixed64Type):
		bits := uint64(0)
		for i := 8; i > 0; i-- {
			bits = bits<<8 | uint64(a[i])
		}
		return math.Float64frombits(bits), true
	case tag(valueNull, protowire.VarintType):
		return nil, true
	}
	var nested structpb.Value
	if err := proto.Unmarshal([]byte(a), &nested); err != nil {
		return nil, false
	}
	return nested.AsInterface(), true
}

// find returns the google.protobuf.Value of name. Of a name that occurs twice the
// last counts, as in every protobuf map.
func (a Attributes) find(name string) (value Attributes, ok bool) {
	for rest := a; len(rest) > 0; {
		var key, val Attributes
		if key, val, rest = rest.next(); string(key) == name {
			value, ok = val, true
		}
	}
	return value, ok
}

// next splits off the first entry. Its key or its value may be missing in what the
// library has written, and is empty then.
func (a Attributes) next() (key, value, rest Attributes) {
	size, n := varint(a[1:])
	entry, rest := a[1+n:1+n+size], a[1+n+size:]
	for len(entry) > 0 {
		size, n := varint(entry[1:])
		content := entry[1+n : 1+n+size]
		if entry[0] == tag(1, protowire.BytesType) {
			key = content
		} else {
			value = content
		}
		entry = entry[1+n+size:]
	}
	return key, value, rest
}

// varint reads a length that is known to be well formed, and returns how many bytes
// it takes.
func varint(s Attributes) (v, n int) {
	for shift := 0; n < len(s); shift += 7 {
		c := s[n]
		n++
		v |= int(c&0x7f) << shift
		if c < 0x80 {
			break
		}
	}
	return v, n
}
