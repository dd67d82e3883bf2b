package wire

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"policyengine.dev/sdk/exchange"
)

// AppendMetadata appends a google.protobuf.Struct with one field, namespace, that
// has the metadata's entries. Values are in JSON's Go types; one that is not counts
// as null. Text that is not UTF-8 must not occur.
func AppendMetadata(b []byte, namespace string, m *exchange.Metadata) []byte {
	var inner []byte
	for key, value := range m.All() {
		inner = appendEntry(inner, key, value)
	}
	// Value{struct_value = 5}
	v := protowire.AppendTag(nil, 5, protowire.BytesType)
	v = protowire.AppendBytes(v, inner)
	return appendField(b, namespace, v)
}

// appendField appends an entry of Struct.fields, v being its encoded Value.
func appendField(b []byte, key string, v []byte) []byte {
	b = append(b, tag(1, protowire.BytesType))
	b = protowire.AppendVarint(b, uint64(bytesSize(len(key))+bytesSize(len(v))))
	b = append(b, tag(1, protowire.BytesType))
	b = protowire.AppendString(b, key)
	b = append(b, tag(2, protowire.BytesType))
	return protowire.AppendBytes(b, v)
}

func appendEntry(b []byte, key string, value any) []byte {
	return appendField(b, key, appendValue(nil, value))
}

// appendValue appends the content of a google.protobuf.Value.
func appendValue(b []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		b = append(b, tag(valueString, protowire.BytesType))
		return protowire.AppendString(b, v)
	case bool:
		return append(b, tag(valueBool, protowire.VarintType), byte(protowire.EncodeBool(v)))
	case float64:
		b = append(b, tag(valueNumber, protowire.Fixed64Type))
		return protowire.AppendFixed64(b, math.Float64bits(v))
	case map[string]any:
		var inner []byte
		for key, value := range v {
			inner = appendEntry(inner, key, value)
		}
		b = protowire.AppendTag(b, 5, protowire.BytesType)
		return protowire.AppendBytes(b, inner)
	case []any:
		var inner []byte
		for _, value := range v {
			inner = append(inner, tag(1, protowire.BytesType))
			inner = protowire.AppendBytes(inner, appendValue(nil, value))
		}
		b = protowire.AppendTag(b, 6, protowire.BytesType)
		return protowire.AppendBytes(b, inner)
	}
	return append(b, tag(valueNull, protowire.VarintType), 0)
}
