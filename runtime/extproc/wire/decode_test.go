package wire_test

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/sdk/exchange"
)

func header(name, value string) *corev3.HeaderValue {
	return &corev3.HeaderValue{Key: name, RawValue: []byte(value)}
}

func headerMap(pairs ...string) *corev3.HeaderMap {
	m := &corev3.HeaderMap{}
	for i := 0; i < len(pairs); i += 2 {
		m.Headers = append(m.Headers, header(pairs[i], pairs[i+1]))
	}
	return m
}

func requestHeaders(h *corev3.HeaderMap, end bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
		RequestHeaders: &extprocv3.HttpHeaders{Headers: h, EndOfStream: end}}}
}

func attributes(t testing.TB, values map[string]any) map[string]*structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(values)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*structpb.Struct{wire.AttributesKey: s}
}

// corpus has every shape of message that Envoy sends, and some that it does not.
func corpus(t testing.TB) map[string]*extprocv3.ProcessingRequest {
	first := requestHeaders(headerMap(":method", "GET", ":scheme", "https", ":authority", "a.example",
		":path", "/x?y", "accept", "*/*", "x-empty", "", "x-twice", "1", "x-twice", "2"), true)
	first.Attributes = attributes(t, map[string]any{"xds.route_name": "charge", "connection.mtls": true,
		"request.size": 17.5, "source.address": "10.0.0.1:1234"})
	first.ProtocolConfig = &extprocv3.ProtocolConfiguration{
		RequestBodyMode: modev3.ProcessingMode_BUFFERED, ResponseBodyMode: modev3.ProcessingMode_FULL_DUPLEX_STREAMED,
		SendBodyWithoutWaitingForHeaderResponse: true}
	forwarded := proto.Clone(first).(*extprocv3.ProcessingRequest)
	forwarded.MetadataContext = &corev3.Metadata{FilterMetadata: attributes(t, map[string]any{"a": map[string]any{"b": nil}})}
	nested := proto.Clone(first).(*extprocv3.ProcessingRequest)
	nested.Attributes = attributes(t, map[string]any{"list": []any{"a", 1, nil}, "map": map[string]any{"k": "v"}, "xds.route_name": "r"})
	other := proto.Clone(first).(*extprocv3.ProcessingRequest)
	other.Attributes["another.filter"] = &structpb.Struct{}
	large := requestHeaders(headerMap("x-large", strings.Repeat("v", 20000), "b", "after"), false)
	return map[string]*extprocv3.ProcessingRequest{
		"first":               first,
		"metadata":            forwarded,
		"nested attributes":   nested,
		"two attribute maps":  other,
		"large":               large,
		"text value":          requestHeaders(&corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "a", Value: "text"}}}, false),
		"both values":         requestHeaders(&corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "a", Value: "text", RawValue: []byte("raw")}}}, false),
		"upper case":          requestHeaders(headerMap("X-Upper", "v", ":Method", "GET"), false),
		"bytes beyond UTF-8":  requestHeaders(headerMap("x-bytes", "\xff\xfe"), false),
		"no headers":          requestHeaders(nil, true),
		"empty":               {},
		"observing":           {ObservabilityMode: true, Request: first.Request},
		"empty name":          requestHeaders(headerMap("", "v"), false),
		"connect":             requestHeaders(headerMap(":method", "CONNECT", ":protocol", "websocket"), false),
		"response headers":    {Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &extprocv3.HttpHeaders{Headers: headerMap(":status", "200", "server", "x")}}},
		"request body":        {Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: []byte("hello"), EndOfStream: true}}},
		"empty body":          {Request: &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{EndOfStream: true}}},
		"body and attributes": {Attributes: first.Attributes, Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: make([]byte, 70000)}}},
		"request trailers":    {Request: &extprocv3.ProcessingRequest_RequestTrailers{RequestTrailers: &extprocv3.HttpTrailers{Trailers: headerMap("x-sum", "1")}}},
		"response trailers":   {Request: &extprocv3.ProcessingRequest_ResponseTrailers{ResponseTrailers: &extprocv3.HttpTrailers{Trailers: headerMap("grpc-status", "0")}}},
	}
}

// reference reads a message by the library alone.
func reference(data []byte) (*wire.Message, map[string]any, error) {
	var p extprocv3.ProcessingRequest
	if err := proto.Unmarshal(data, &p); err != nil {
		return nil, nil, err
	}
	m := &wire.Message{Observability: p.ObservabilityMode}
	if c := p.ProtocolConfig; c != nil {
		m.HasProtocol = true
		m.Protocol = wire.ProtocolConfig{RequestBody: wire.BodyMode(c.RequestBodyMode),
			ResponseBody: wire.BodyMode(c.ResponseBodyMode), SendBodyWithoutWaiting: c.SendBodyWithoutWaitingForHeaderResponse}
	}
	list := func(h *corev3.HeaderMap) {
		for _, f := range h.GetHeaders() {
			value := string(f.RawValue)
			if value == "" {
				value = f.Value
			}
			name := exchange.Lower(f.Key)
			pseudo := map[string]*string{":method": &m.Pseudo.Method, ":scheme": &m.Pseudo.Scheme, ":path": &m.Pseudo.Path,
				":authority": &m.Pseudo.Authority, ":protocol": &m.Pseudo.Protocol, ":status": &m.Pseudo.Status}
			switch {
			case pseudo[name] != nil:
				*pseudo[name] = value
			case !strings.HasPrefix(name, ":"):
				m.Fields = append(m.Fields, exchange.Field{Name: name, Value: value})
			}
		}
	}
	switch r := p.Request.(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		m.Kind, m.EndOfStream = wire.RequestHeaders, r.RequestHeaders.GetEndOfStream()
		list(r.RequestHeaders.GetHeaders())
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		m.Kind, m.EndOfStream = wire.ResponseHeaders, r.ResponseHeaders.GetEndOfStream()
		list(r.ResponseHeaders.GetHeaders())
	case *extprocv3.ProcessingRequest_RequestBody:
		m.Kind, m.EndOfStream, m.Body = wire.RequestBody, r.RequestBody.GetEndOfStream(), r.RequestBody.GetBody()
	case *extprocv3.ProcessingRequest_ResponseBody:
		m.Kind, m.EndOfStream, m.Body = wire.ResponseBody, r.ResponseBody.GetEndOfStream(), r.ResponseBody.GetBody()
	case *extprocv3.ProcessingRequest_RequestTrailers:
		m.Kind = wire.RequestTrailers
		list(r.RequestTrailers.GetTrailers())
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		m.Kind = wire.ResponseTrailers
		list(r.ResponseTrailers.GetTrailers())
	}
	return m, p.GetAttributes()[wire.AttributesKey].AsMap(), nil
}

// inPieces has a reader read data, in pieces.
func inPieces(h wire.BodyHead, data, scratch []byte, m *wire.Message) error {
	r := wire.NewBodyReader(h, scratch)
	for piece := range slices.Chunk(data, 5) {
		given := bytes.Clone(piece)
		r.Add(given)
		clear(given)
	}
	return r.Decode(m)
}

// agreeInParts compares what a BodyReader makes of data with what Decode does.
func agreeInParts(t *testing.T, data []byte) {
	t.Helper()
	h, ok := wire.ReadBodyHead(data[:min(len(data), wire.MaxBodyHead)], len(data))
	if !ok {
		return
	}
	var got, want wire.Message
	err, wantErr := inPieces(h, data, nil, &got), wire.Decode(data, &want)
	if err != nil {
		return // it may refuse what Envoy does not send
	}
	if wantErr != nil {
		t.Fatalf("in pieces it is %+v, and Decode says %v", got, wantErr)
	}
	if len(got.Body) == 0 {
		got.Body, want.Body = nil, nil
	}
	got.Fields, want.Fields = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("in pieces it is\n%+v, and at once\n%+v", got, want)
	}
}

// agree compares what Decode makes of data with what the library makes of it.
func agree(t *testing.T, data []byte, m *wire.Message) {
	t.Helper()
	agreeInParts(t, data)
	given := bytes.Clone(data)
	err := wire.Decode(given, m)
	want, attrs, wantErr := reference(data)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("Decode says %v, the library %v", err, wantErr)
	}
	if err != nil {
		return
	}
	// What was decoded must not depend on the buffer.
	for i := range given {
		given[i] = 0xff
	}
	got := *m
	for name, v := range attrs {
		if a, ok := m.Attributes.Lookup(name); !ok || !sameValue(a, v) {
			t.Fatalf("attribute %q is %v, %v; want %v", name, a, ok, v)
		}
		text, isText := v.(string)
		if a, ok := m.Attributes.Text(name); ok != isText || a != text {
			t.Fatalf("attribute %q is the text %q, %v; want %v", name, a, ok, v)
		}
	}
	listed := maps.Collect(m.Attributes.All())
	for name, v := range attrs {
		if a, ok := listed[name]; !ok || !sameValue(a, v) {
			t.Fatalf("attribute %q is listed as %v, %v; want %v", name, a, ok, v)
		}
	}
	if len(listed) != len(attrs) {
		t.Fatalf("%d attributes are listed, want %d", len(listed), len(attrs))
	}
	if _, ok := m.Attributes.Lookup("no.such"); ok != (attrs["no.such"] != nil) {
		t.Fatal("an attribute from nowhere")
	}
	got.Attributes = ""
	if len(got.Fields) == 0 {
		got.Fields = nil
	}
	if (got.Kind == wire.RequestBody || got.Kind == wire.ResponseBody) != (got.Body != nil) {
		t.Fatalf("%s has the body %v", got.Kind, got.Body)
	}
	if len(got.Body) == 0 {
		got.Body, want.Body = nil, nil
	}
	if !reflect.DeepEqual(&got, want) {
		t.Fatalf("Decode reads\n%+v, the library\n%+v", &got, want)
	}
}

// sameValue compares values of JSON, among which NaN is one.
func sameValue(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// TestDecode proves that every shape of message is read as the library reads it, by
// a message that has been used before.
func TestDecode(t *testing.T) {
	var m wire.Message
	for name, p := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			data, err := proto.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			agree(t, data, &m)
		})
	}
}

// TestDecodeOddities proves the same of encodings that no one sends but anyone may.
func TestDecodeOddities(t *testing.T) {
	marshal := func(p *extprocv3.ProcessingRequest) []byte {
		data, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	c := corpus(t)
	first, body := marshal(c["first"]), marshal(c["request body"])
	for name, data := range map[string][]byte{
		"the same part twice":          append(bytes.Clone(first), first...),
		"two parts":                    append(bytes.Clone(first), body...),
		"an unknown field":             protowire.AppendVarint(protowire.AppendTag(bytes.Clone(first), 99, protowire.VarintType), 7),
		"a field of another type":      protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 7),
		"a bool of two":                {0x50, 2},
		"a bool in two bytes":          {0x50, 0x80, 0},
		"a long length":                append([]byte{0x22, 0x82, 0x80, 0x00}, 0x10, 1),
		"a length beyond the end":      {0x22, 5, 0x0a, 1},
		"a group":                      {0x1b, 0x1c},
		"an end of a group":            {0x1c},
		"a tag of field 0":             {0x02, 0},
		"cut off":                      first[:len(first)-1],
		"a bad name":                   marshalRaw(2, marshalRaw(1, marshalRaw(1, marshalRaw(1, []byte("\xff"))))),
		"a bad text value":             marshalRaw(2, marshalRaw(1, marshalRaw(1, marshalRaw(2, []byte("\xff"))))),
		"value before key":             marshalRaw(2, marshalRaw(1, marshalRaw(1, append(marshalRaw(3, []byte("v")), marshalRaw(1, []byte("k"))...)))),
		"a key twice":                  marshalRaw(2, marshalRaw(1, marshalRaw(1, append(marshalRaw(1, []byte("k")), marshalRaw(1, []byte("l"))...)))),
		"metadata that is none":        marshalRaw(8, []byte{0x0a}),
		"attributes without a value":   marshalRaw(9, marshalRaw(1, []byte(wire.AttributesKey))),
		"attributes without a key":     marshalRaw(9, marshalRaw(2, nil)),
		"an attribute without value":   marshalRaw(9, append(marshalRaw(1, []byte(wire.AttributesKey)), marshalRaw(2, marshalRaw(1, marshalRaw(1, []byte("k"))))...)),
		"an attribute that is nothing": marshalRaw(9, append(marshalRaw(1, []byte(wire.AttributesKey)), marshalRaw(2, marshalRaw(1, append(marshalRaw(1, []byte("k")), marshalRaw(2, nil)...)))...)),
		"an attribute twice": marshalRaw(9, append(marshalRaw(1, []byte(wire.AttributesKey)), marshalRaw(2,
			append(attribute("k", "1"), attribute("k", "2")...))...)),
	} {
		t.Run(name, func(t *testing.T) { agree(t, data, new(wire.Message)) })
	}
}

func marshalRaw(field protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), content)
}

func attribute(key, value string) []byte {
	return marshalRaw(1, append(marshalRaw(1, []byte(key)), marshalRaw(2, marshalRaw(3, []byte(value)))...))
}

func FuzzDecode(f *testing.F) {
	for _, p := range corpus(f) {
		data, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { agree(t, data, new(wire.Message)) })
}

// TestDecodeAllocations proves that a message with headers costs its one copy.
func TestDecodeAllocations(t *testing.T) {
	data, err := proto.Marshal(corpus(t)["first"])
	if err != nil {
		t.Fatal(err)
	}
	var m wire.Message
	if got := testing.AllocsPerRun(100, func() {
		if err := wire.Decode(data, &m); err != nil {
			t.Fatal(err)
		}
	}); got > 1 {
		t.Errorf("%v allocations, want 1", got)
	}
}

func BenchmarkDecode(b *testing.B) {
	data, err := proto.Marshal(corpus(b)["first"])
	if err != nil {
		b.Fatal(err)
	}
	b.Run("in place", func(b *testing.B) {
		b.ReportAllocs()
		var m wire.Message
		for b.Loop() {
			if err := wire.Decode(data, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var p extprocv3.ProcessingRequest
			if err := proto.Unmarshal(data, &p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestBodiesInParts proves that every body of Envoy's is read in parts, and that one that
// is given twice is refused.
func TestBodiesInParts(t *testing.T) {
	rest, err := proto.Marshal(&extprocv3.ProcessingRequest{
		Attributes:     attributes(t, map[string]any{"xds.route_name": "r"}),
		ProtocolConfig: &extprocv3.ProtocolConfiguration{RequestBodyMode: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Envoy writes fields in the order of their numbers.
	large := append(marshalRaw(4, append(marshalRaw(1, bytes.Repeat([]byte("b"), 70_000)), 0x10, 1)), rest...)
	for name, data := range map[string][]byte{"request": large, "response": marshalRaw(5, marshalRaw(1, []byte("b")))} {
		h, ok := wire.ReadBodyHead(data[:min(len(data), wire.MaxBodyHead)], len(data))
		if !ok {
			t.Fatalf("%s: the head is not read", name)
		}
		agreeInParts(t, data)
		var m wire.Message
		if err := inPieces(h, data, make([]byte, 10), &m); err != nil || !bytes.Equal(m.Body, data[h.Start:h.End]) || &m.Body[0] != &m.Scratch[0] {
			t.Errorf("%s: %v, with %d bytes", name, err, len(m.Body))
		}
		for what, more := range map[string][]byte{
			"another body":        marshalRaw(4, marshalRaw(1, []byte("c"))),
			"another part":        marshalRaw(2, nil),
			"what is not a field": {0xff},
		} {
			if inPieces(h, append(bytes.Clone(data), more...), nil, &m) == nil {
				t.Errorf("%s, and %s: read without an error", name, what)
			}
		}
	}
	for name, data := range map[string][]byte{
		"nothing": {}, "headers": marshalRaw(2, nil), "an empty body": marshalRaw(4, nil), "the end first": marshalRaw(4, []byte{0x10, 1}),
		"a length beyond the end": {0x22, 100, 0x0a, 1}, "a body beyond its part": {0x22, 2, 0x0a, 1, 'x'},
	} {
		if h, ok := wire.ReadBodyHead(data, len(data)); ok {
			t.Errorf("%s: read as %+v", name, h)
		}
	}
}
