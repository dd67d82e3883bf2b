package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// open begins a nested message in field num. shut ends it: at is where its content begins.
func open(b []byte, num protowire.Number) (_ []byte, at int) {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return append(b, 0), len(b) + 1
}

// shut writes the length of the content into the byte that open has left for it, which
// most lengths fit.
func shut(b []byte, at int) []byte {
	n := len(b) - at
	if n < 0x80 {
		b[at-1] = byte(n)
		return b
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	for range more {
		b = append(b, 0)
	}
	copy(b[at+more:], b[at:at+n])
	protowire.AppendVarint(b[:at-1], uint64(n))
	return b
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	return appendUint(b, num, protowire.EncodeBool(v))
}

// appendText leaves out what is empty.
func appendText[T string | []byte](b []byte, num protowire.Number, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return appendItem(b, num, v)
}

// appendItem writes what is empty, too.
func appendItem[T string | []byte](b []byte, num protowire.Number, v T) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendField(b []byte, num protowire.Number, name, value string) []byte {
	b, at := open(b, num)
	b = appendText(b, fieldName, name)
	b = appendText(b, fieldValue, value)
	return shut(b, at)
}

func appendHeaders(b []byte, num protowire.Number, h *exchange.Headers) []byte {
	for i := range h.Len() {
		f := h.At(i)
		b = appendField(b, num, f.Name, f.Value)
	}
	return b
}

func appendPolicyHeaders(b []byte, num protowire.Number, hs []policy.Header) []byte {
	for i := range hs {
		b = appendField(b, num, hs[i].Name, hs[i].Value)
	}
	return b
}

func appendParams(b []byte, num protowire.Number, ps []policy.Param) []byte {
	for i := range ps {
		b = appendField(b, num, ps[i].Name, ps[i].Value)
	}
	return b
}

func appendNames(b []byte, num protowire.Number, names []string) []byte {
	for _, n := range names {
		b = appendItem(b, num, n)
	}
	return b
}
