package wire

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	"policyengine.dev/sdk/exchange"
)

// AttributesKey is the key under which the filter sends the attributes that it was
// configured to ask for.
const AttributesKey = "envoy.filters.http.ext_proc"

// Field numbers of ProcessingRequest beside the oneof's.
const (
	fieldMetadataContext = 8
	fieldAttributes      = 9
	fieldObservability   = 10
	fieldProtocolConfig  = 11
)

// Decode reads the ProcessingRequest in data into m. It gives an error where
// proto.Unmarshal would, and nothing of m may be used then. data is not kept.
func Decode(data []byte, m *Message) error {
	m.reset()
	if decodePlain(data, m) {
		return nil
	}
	m.reset()
	return decodeByLibrary(data, m)
}

// span is a piece of the message: the bytes from start up to end.
type span struct{ start, end int }

// tag makes the one-byte tag of a field below 16.
func tag(field int, t protowire.Type) byte { return byte(field<<3) | byte(t) }

// length reads the length of a length-delimited field at i, and returns the span of
// its content. ok is false where that does not lie before end.
func length(b []byte, i, end int) (s span, ok bool) {
	if i >= end {
		return s, false
	}
	n := uint64(b[i])
	i++
	if n >= 0x80 {
		v, l := protowire.ConsumeVarint(b[i-1 : end])
		if l < 0 {
			return s, false
		}
		n = v
		i += l - 1
	}
	if n > uint64(end-i) {
		return s, false
	}
	return span{i, i + int(n)}, true
}

// flag reads a bool of one byte. Longer forms are not plain.
func flag(b []byte, i, end int) (v, ok bool) {
	if i >= end || b[i] > 1 {
		return false, false
	}
	return b[i] == 1, true
}

// decodePlain reads a message that has each field once and nothing unknown. It
// reports false, with m in any state, where that is not so.
func decodePlain(b []byte, m *Message) bool {
	var part span
	var attributes span
	var seen uint32
	for i := 0; i < len(b); {
		t := b[i]
		i++
		field := t >> 3
		if t >= 0x80 || field == 0 || seen&(1<<field) != 0 {
			return false
		}
		seen |= 1 << field
		if t == tag(fieldObservability, protowire.VarintType) {
			v, ok := flag(b, i, len(b))
			if !ok {
				return false
			}
			m.Observability = v
			i++
			continue
		}
		if protowire.Type(t&7) != protowire.BytesType {
			return false
		}
		s, ok := length(b, i, len(b))
		if !ok {
			return false
		}
		i = s.end
		switch field {
		case byte(RequestHeaders), byte(ResponseHeaders), byte(RequestBody), byte(ResponseBody),
			byte(RequestTrailers), byte(ResponseTrailers):
			if m.Kind != None {
				return false
			}
			m.Kind, part = Kind(field), s
		case fieldMetadataContext:
			// Only what Envoy was told to forward is here; the engine has no
			// use for it, and the library says whether it is well formed.
			if proto.Unmarshal(b[s.start:s.end], new(corev3.Metadata)) != nil {
				return false
			}
		case fieldAttributes:
			attributes = s
		case fieldProtocolConfig:
			if !m.protocol(b, s) {
				return false
			}
		default:
			return false
		}
	}
	return m.content(b, part, attributes)
}

// content reads the part that the oneof holds, and the attributes.
func (m *Message) content(b []byte, part, attributes span) bool {
	var text string
	switch m.Kind {
	case RequestHeaders, ResponseHeaders, RequestTrailers, ResponseTrailers:
		text = string(b)
		if !m.headers(b, text, part) {
			return false
		}
	case RequestBody, ResponseBody:
		if !m.body(b, part) {
			return false
		}
	}
	if attributes == (span{}) {
		return true
	}
	s, ok := plainAttributes(b, attributes)
	if !ok {
		return false
	}
	if s.start == s.end {
		return true
	}
	if text == "" {
		m.Attributes = Attributes(b[s.start:s.end])
	} else {
		m.Attributes = Attributes(text[s.start:s.end])
	}
	return true
}

// protocol reads a ProtocolConfiguration.
func (m *Message) protocol(b []byte, s span) bool {
	m.HasProtocol = true
	for i := s.start; i < s.end; {
		t := b[i]
		i++
		// Every value of these fields that Envoy knows fits one byte.
		if i >= s.end || b[i] >= 0x80 {
			return false
		}
		v := b[i]
		i++
		switch t {
		case tag(1, protowire.VarintType):
			m.Protocol.RequestBody = BodyMode(v)
		case tag(2, protowire.VarintType):
			m.Protocol.ResponseBody = BodyMode(v)
		case tag(3, protowire.VarintType):
			m.Protocol.SendBodyWithoutWaiting = v != 0
		default:
			return false
		}
	}
	return true
}

// body reads an HttpBody.
func (m *Message) body(b []byte, s span) bool {
	var data span
	seen := false
	for i := s.start; i < s.end; {
		t := b[i]
		i++
		switch t {
		case tag(1, protowire.BytesType):
			d, ok := length(b, i, s.end)
			if !ok || seen {
				return false
			}
			data, seen = d, true
			i = d.end
		case tag(2, protowire.VarintType):
			v, ok := flag(b, i, s.end)
			if !ok {
				return false
			}
			m.EndOfStream = v
			i++
		default:
			return false
		}
	}
	m.setBody(b[data.start:data.end])
	return true
}

// headers reads an HttpHeaders or HttpTrailers; the latter has no end_of_stream.
func (m *Message) headers(b []byte, text string, s span) bool {
	seen := false
	for i := s.start; i < s.end; {
		t := b[i]
		i++
		switch t {
		case tag(1, protowire.BytesType):
			l, ok := length(b, i, s.end)
			if !ok || seen || !m.headerMap(b, text, l) {
				return false
			}
			seen = true
			i = l.end
		case tag(3, protowire.VarintType):
			v, ok := flag(b, i, s.end)
			if !ok || m.Kind >= RequestTrailers {
				return false
			}
			m.EndOfStream = v
			i++
		default:
			return false
		}
	}
	return true
}

// headerMap reads a config.core.v3.HeaderMap.
func (m *Message) headerMap(b []byte, text string, s span) bool {
	for i := s.start; i < s.end; {
		if b[i] != tag(1, protowire.BytesType) {
			return false
		}
		h, ok := length(b, i+1, s.end)
		if !ok || !m.header(b, text, h) {
			return false
		}
		i = h.end
	}
	return true
}

// header reads a config.core.v3.HeaderValue: the value is in raw_value, or in value
// where the filter was told to send text.
func (m *Message) header(b []byte, text string, s span) bool {
	var parts [4]span
	last := byte(0)
	for i := s.start; i < s.end; {
		t := b[i]
		// key, value and raw_value, each once at most and in order.
		if t != tag(1, protowire.BytesType) && t != tag(2, protowire.BytesType) && t != tag(3, protowire.BytesType) {
			return false
		}
		field := t >> 3
		p, ok := length(b, i+1, s.end)
		if !ok || field <= last {
			return false
		}
		parts[field], last = p, field
		i = p.end
	}
	key, value := parts[1], parts[3]
	if value.start == value.end {
		value = parts[2]
	}
	if parts[2].start != parts[2].end && !utf8.Valid(b[parts[2].start:parts[2].end]) {
		return false
	}
	name := text[key.start:key.end]
	if !lowerASCII(name) {
		if !utf8.ValidString(name) {
			return false
		}
		name = exchange.Lower(name)
	}
	m.addHeader(name, text[value.start:value.end])
	return true
}

// lowerASCII reports whether s is ASCII without upper case letters, as the names
// that Envoy sends are.
func lowerASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 0x80 || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

// plainAttributes reads an entry of the map ProcessingRequest.attributes and
// returns the Struct in it; an empty span where it is under another key.
func plainAttributes(b []byte, s span) (span, bool) {
	key, value, ok := mapEntry(b, s)
	if !ok || !utf8.Valid(b[key.start:key.end]) {
		return span{}, false
	}
	if !plainStruct(b, value) {
		// Nested values do not come from Envoy. The library validates them,
		// and puts them into the form that Attributes reads.
		return span{}, false
	}
	if string(b[key.start:key.end]) != AttributesKey {
		return span{}, true
	}
	return value, true
}

// mapEntry reads the key and the value of an entry whose value is of the
// length-delimited type, each once and in this order.
func mapEntry(b []byte, s span) (key, value span, ok bool) {
	i := s.start
	if i >= s.end || b[i] != tag(1, protowire.BytesType) {
		return key, value, false
	}
	if key, ok = length(b, i+1, s.end); !ok {
		return key, value, false
	}
	i = key.end
	if i >= s.end || b[i] != tag(2, protowire.BytesType) {
		return key, value, false
	}
	value, ok = length(b, i+1, s.end)
	return key, value, ok && value.end == s.end
}

// plainStruct reports whether s is a google.protobuf.Struct of scalars.
func plainStruct(b []byte, s span) bool {
	for i := s.start; i < s.end; {
		if b[i] != tag(1, protowire.BytesType) {
			return false
		}
		entry, ok := length(b, i+1, s.end)
		if !ok {
			return false
		}
		key, value, ok := mapEntry(b, entry)
		if !ok || !utf8.Valid(b[key.start:key.end]) || !plainValue(b, value) {
			return false
		}
		i = entry.end
	}
	return true
}

// plainValue reports whether s is a google.protobuf.Value with one scalar.
func plainValue(b []byte, s span) bool {
	if s.start >= s.end {
		return false
	}
	i := s.start + 1
	switch b[s.start] {
	case tag(valueNull, protowire.VarintType), tag(valueBool, protowire.VarintType):
		_, ok := flag(b, i, s.end)
		return ok && i+1 == s.end
	case tag(valueNumber, protowire.Fixed64Type):
		return i+8 == s.end
	case tag(valueString, protowire.BytesType):
		v, ok := length(b, i, s.end)
		return ok && v.end == s.end && utf8.Valid(b[v.start:v.end])
	}
	return false
}
