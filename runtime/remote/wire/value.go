package wire

import (
	"encoding/json"
	"iter"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"policyengine.dev/sdk/exchange"
)

// Bounds of a value, those of [exchange.Portable].
const (
	maxDepth  = 32
	maxValues = 10_000
)

// appendEntry writes a named value. The value has to be one that [exchange.Portable]
// accepts.
func appendEntry(b []byte, num protowire.Number, key string, value any) []byte {
	b, at := open(b, num)
	b = appendText(b, fieldName, key)
	b = appendValue(b, fieldValue, value)
	return shut(b, at)
}

func appendValue(b []byte, num protowire.Number, value any) []byte {
	b, at := open(b, num)
	switch v := value.(type) {
	case bool:
		b = protowire.AppendTag(b, valueBool, protowire.VarintType)
		b = protowire.AppendVarint(b, protowire.EncodeBool(v))
	case float64:
		b = protowire.AppendTag(b, valueNumber, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, math.Float64bits(v))
	case string:
		b = appendItem(b, valueText, v)
	case json.Number:
		b = appendItem(b, valueDecimal, string(v))
	case []any:
		var list int
		b, list = open(b, valueList)
		for _, e := range v {
			b = appendValue(b, listItems, e)
		}
		b = shut(b, list)
	case map[string]any:
		var entries int
		b, entries = open(b, valueMap)
		for k, e := range v {
			b = appendEntry(b, mapEntries, k, e)
		}
		b = shut(b, entries)
	default:
		b = appendBool(b, valueNull, true)
	}
	return shut(b, at)
}

// values reads values, at most so many.
type values struct{ left int }

// entry reads a named value.
func (vs *values) entry(d data, depth int) (e exchange.Entry, err error) {
	for f := range d.fields(&err) {
		switch {
		case f.is(fieldName, protowire.BytesType):
			e.Key = string(f.data)
		case f.is(fieldValue, protowire.BytesType):
			var wrong error
			if e.Value, wrong = vs.value(f.data, depth); wrong != nil {
				return e, wrong
			}
		}
	}
	return e, err
}

func (vs *values) value(d data, depth int) (v any, err error) {
	if vs.left--; depth == 0 || vs.left < 0 {
		return nil, errBounds
	}
	for f := range d.fields(&err) {
		var wrong error
		switch {
		case f.is(valueBool, protowire.VarintType):
			v = f.number != 0
		case f.is(valueNumber, protowire.Fixed64Type):
			v = math.Float64frombits(f.number)
		case f.is(valueText, protowire.BytesType):
			v = string(f.data)
		case f.is(valueDecimal, protowire.BytesType):
			n := json.Number(f.data)
			v, wrong = n, exchange.Portable(n)
		case f.is(valueList, protowire.BytesType):
			v, wrong = vs.list(f.data, depth-1)
		case f.is(valueMap, protowire.BytesType):
			v, wrong = vs.entries(f.data, depth-1)
		}
		if wrong != nil {
			return nil, wrong
		}
	}
	return v, err
}

func (vs *values) list(d data, depth int) (list []any, err error) {
	list = []any{}
	for f := range d.fields(&err) {
		if f.is(listItems, protowire.BytesType) {
			v, wrong := vs.value(f.data, depth)
			if wrong != nil {
				return nil, wrong
			}
			list = append(list, v)
		}
	}
	return list, err
}

func (vs *values) entries(d data, depth int) (m map[string]any, err error) {
	m = map[string]any{}
	for f := range d.fields(&err) {
		if f.is(mapEntries, protowire.BytesType) {
			e, wrong := vs.entry(f.data, depth)
			if wrong != nil {
				return nil, wrong
			}
			m[e.Key] = e.Value
		}
	}
	return m, err
}

// named reads one entry of metadata, attributes or dynamic metadata.
func named(d data) (exchange.Entry, error) {
	vs := values{maxValues}
	return vs.entry(d, maxDepth)
}

// Attributes are attributes as a worker knows them. They are not modified.
type Attributes []exchange.Entry

// Lookup implements [exchange.Attributes].
func (a Attributes) Lookup(name string) (any, bool) {
	for i := range a {
		if a[i].Key == name {
			return a[i].Value, true
		}
	}
	return nil, false
}

// All implements [exchange.Attributes].
func (a Attributes) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for i := range a {
			if !yield(a[i].Key, a[i].Value) {
				return
			}
		}
	}
}
