package wire

import (
	"errors"
	"iter"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	errMalformed = errors.New("the message is malformed")
	errBounds    = errors.New("the message has a value that is nested too deep or too large")
	errEnum      = errors.New("the message has an unknown kind")
)

// data is a message in the form in which it came. It is immutable: what is read from it
// shares its memory.
type data string

// field is one field of a message: data where it is of the bytes type, else number.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	data   data
	number uint64
}

func (f *field) is(num protowire.Number, typ protowire.Type) bool {
	return f.num == num && f.typ == typ
}

// fields yields the fields of d in order. err is set at what is malformed, where the
// fields end.
func (d data) fields(err *error) iter.Seq[field] {
	return func(yield func(field) bool) {
		for rest := d; len(rest) > 0; {
			f, n := rest.next()
			if n <= 0 {
				*err = errMalformed
				return
			}
			rest = rest[n:]
			if !yield(f) {
				return
			}
		}
	}
}

// next reads the first field, and returns how many bytes it takes, or 0 if it is malformed.
// Groups, which proto3 does not have, are malformed.
func (d data) next() (f field, n int) {
	tag, n := d.varint()
	if n == 0 || tag>>3 == 0 || tag>>3 > uint64(protowire.MaxValidNumber) {
		return f, 0
	}
	f.num, f.typ = protowire.Number(tag>>3), protowire.Type(tag&7)
	rest := d[n:]
	switch f.typ {
	case protowire.VarintType:
		v, m := rest.varint()
		if m == 0 {
			return f, 0
		}
		f.number = v
		return f, n + m
	case protowire.BytesType:
		size, m := rest.varint()
		if m == 0 || size > uint64(len(rest)-m) {
			return f, 0
		}
		f.data = rest[m : m+int(size)]
		return f, n + m + int(size)
	case protowire.Fixed64Type:
		if len(rest) < 8 {
			return f, 0
		}
		for i := 7; i >= 0; i-- {
			f.number = f.number<<8 | uint64(rest[i])
		}
		return f, n + 8
	case protowire.Fixed32Type:
		if len(rest) < 4 {
			return f, 0
		}
		return f, n + 4
	}
	return f, 0
}

// varint reads a number, and returns how many bytes it takes, or 0 if it is malformed.
func (d data) varint() (v uint64, n int) {
	for shift := 0; n < len(d) && n < 10; shift += 7 {
		c := d[n]
		n++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if n == 10 && c > 1 {
				return 0, 0
			}
			return v, n
		}
	}
	return 0, 0
}
