package wire

import (
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
	if !ok || len(v) == 0 {
		return nil, ok
	}
	switch v[0] {
	case tag(valueString, protowire.BytesType):
		_, n := varint(v[1:])
		return string(v[1+n:]), true
	case tag(valueBool, protowire.VarintType):
		return v[1] != 0, true
	case tag(valueNumber, protowire.Fixed64Type):
		bits := uint64(0)
		for i := 8; i > 0; i-- {
			bits = bits<<8 | uint64(v[i])
		}
		return math.Float64frombits(bits), true
	case tag(valueNull, protowire.VarintType):
		return nil, true
	}
	var nested structpb.Value
	if err := proto.Unmarshal([]byte(v), &nested); err != nil {
		return nil, false
	}
	return nested.AsInterface(), true
}

// find returns the google.protobuf.Value of name. Of a name that occurs twice the
// last counts, as in every protobuf map.
func (a Attributes) find(name string) (value Attributes, ok bool) {
	for rest := a; len(rest) > 0; {
		size, n := varint(rest[1:])
		entry := rest[1+n : 1+n+size]
		rest = rest[1+n+size:]
		// An entry is its key and its value. Either may be missing in what
		// the library has written, and is empty then.
		key, val := Attributes(""), Attributes("")
		for len(entry) > 0 {
			size, n := varint(entry[1:])
			content := entry[1+n : 1+n+size]
			if entry[0] == tag(1, protowire.BytesType) {
				key = content
			} else {
				val = content
			}
			entry = entry[1+n+size:]
		}
		if string(key) == name {
			value, ok = val, true
		}
	}
	return value, ok
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
