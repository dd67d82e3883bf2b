package wire_test

import (
	"math"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/sdk/exchange"
)

// read unmarshals a reply by the library, and frees it.
func read(t testing.TB, b mem.BufferSlice) *extprocv3.ProcessingResponse {
	t.Helper()
	var p extprocv3.ProcessingResponse
	if err := proto.Unmarshal(b.Materialize(), &p); err != nil {
		t.Fatal(err)
	}
	b.Free()
	return &p
}

// difference is empty for equal messages. Telling what differs in large ones is slow.
func difference(want, got *extprocv3.ProcessingResponse) string {
	if proto.Equal(want, got) {
		return ""
	}
	return cmp.Diff(want, got, protocmp.Transform())
}

func option(name, value string, add bool) *corev3.HeaderValueOption {
	action := corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	if add {
		action = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
	}
	//lint:ignore SA1019 the reply sends append beside append_action: some of Envoy reads only the one.
	return &corev3.HeaderValueOption{Header: header(name, value), Append: wrapperspb.Bool(add), AppendAction: action}
}

func continueWith(k wire.Kind, c *extprocv3.CommonResponse) *extprocv3.ProcessingResponse {
	h, b := &extprocv3.HeadersResponse{Response: c}, &extprocv3.BodyResponse{Response: c}
	t := &extprocv3.TrailersResponse{HeaderMutation: c.GetHeaderMutation()}
	switch k {
	case wire.RequestHeaders:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: h}}
	case wire.ResponseHeaders:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: h}}
	case wire.RequestBody:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestBody{RequestBody: b}}
	case wire.ResponseBody:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: b}}
	case wire.RequestTrailers:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestTrailers{RequestTrailers: t}}
	default:
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: t}}
	}
}

var kinds = []wire.Kind{wire.RequestHeaders, wire.ResponseHeaders, wire.RequestBody,
	wire.ResponseBody, wire.RequestTrailers, wire.ResponseTrailers}

// TestReplies proves that each reply is the message of the generated types that it
// stands for, whatever was composed before it.
func TestReplies(t *testing.T) {
	set := &extprocv3.HeaderMutation{
		SetHeaders:    []*corev3.HeaderValueOption{option("x-a", "1", false), option("x-b", "", true)},
		RemoveHeaders: []string{"x-c"},
	}
	long := strings.Repeat("v", 100_000)
	override := wire.NewModeOverride(wire.ProcessingMode{ResponseHeaders: wire.HeaderSend, RequestBody: wire.BodyBuffered,
		ResponseBody: wire.BodyFullDuplex, RequestTrailers: wire.HeaderSkip, ResponseTrailers: wire.HeaderSend})
	mode := &modev3.ProcessingMode{ResponseHeaderMode: modev3.ProcessingMode_SEND, RequestBodyMode: modev3.ProcessingMode_BUFFERED,
		ResponseBodyMode: modev3.ProcessingMode_FULL_DUPLEX_STREAMED, RequestTrailerMode: modev3.ProcessingMode_SKIP,
		ResponseTrailerMode: modev3.ProcessingMode_SEND}
	body := func(b *extprocv3.BodyMutation) *extprocv3.CommonResponse {
		return &extprocv3.CommonResponse{BodyMutation: b}
	}
	streamed := func(s *extprocv3.StreamedBodyResponse) *extprocv3.CommonResponse {
		return body(&extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_StreamedResponse{StreamedResponse: s}})
	}
	for _, tt := range []struct {
		name    string
		compose func(*wire.Reply)
		common  *extprocv3.CommonResponse
		// mode is the override beside it; trailers says that it suits
		// trailers too.
		mode     *modev3.ProcessingMode
		trailers bool
	}{
		{name: "nothing", compose: func(*wire.Reply) {}, trailers: true},
		{name: "headers", compose: func(r *wire.Reply) {
			r.SetHeader("x-a", "1", false)
			r.SetHeader("x-b", "", true)
			r.RemoveHeader("x-c")
		}, common: &extprocv3.CommonResponse{HeaderMutation: set}, trailers: true},
		{name: "a long header", compose: func(r *wire.Reply) { r.SetHeader("x-a", long, false) },
			common:   &extprocv3.CommonResponse{HeaderMutation: &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{option("x-a", long, false)}}},
			trailers: true},
		{name: "override", compose: func(r *wire.Reply) { r.Override(override) }, mode: mode, trailers: true},
		{name: "route cache", compose: (*wire.Reply).ClearRouteCache,
			common: &extprocv3.CommonResponse{HeaderMutation: &extprocv3.HeaderMutation{}, ClearRouteCache: true}},
		{name: "body", compose: func(r *wire.Reply) { r.ReplaceBody([]byte("new")) },
			common: body(&extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_Body{Body: []byte("new")}})},
		{name: "empty body", compose: func(r *wire.Reply) { r.ReplaceBody(nil) },
			common: body(&extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_ClearBody{ClearBody: true}})},
		{name: "piece", compose: func(r *wire.Reply) { r.StreamBody([]byte("piece"), false) },
			common: streamed(&extprocv3.StreamedBodyResponse{Body: []byte("piece")})},
		{name: "last piece", compose: func(r *wire.Reply) { r.StreamBody([]byte("piece"), true) },
			common: streamed(&extprocv3.StreamedBodyResponse{Body: []byte("piece"), EndOfStream: true})},
		{name: "empty last piece", compose: func(r *wire.Reply) { r.StreamBody(nil, true) },
			common: streamed(&extprocv3.StreamedBodyResponse{EndOfStream: true})},
		{name: "everything", compose: func(r *wire.Reply) {
			r.Override(override)
			r.ReplaceMessage()
			r.ReplaceBody([]byte(long))
			r.ClearRouteCache()
			r.SetHeader("x-a", "1", false)
			r.SetHeader("x-b", "", true)
			r.RemoveHeader("x-c")
		}, common: &extprocv3.CommonResponse{Status: extprocv3.CommonResponse_CONTINUE_AND_REPLACE, HeaderMutation: set, ClearRouteCache: true,
			BodyMutation: &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_Body{Body: []byte(long)}}}, mode: mode},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r wire.Reply
			for _, k := range kinds {
				if k >= wire.RequestTrailers && !tt.trailers {
					continue
				}
				want := continueWith(k, tt.common)
				want.ModeOverride = tt.mode
				for _, metadata := range []bool{false, true} {
					r.Reset(k)
					tt.compose(&r)
					if metadata {
						var m exchange.Metadata
						m.Set("k", "v")
						r.DynamicMetadata(wire.AppendMetadata(nil, "ns", &m))
						want.DynamicMetadata, _ = structpb.NewStruct(map[string]any{"ns": map[string]any{"k": "v"}})
					}
					if diff := difference(want, read(t, r.Finish())); diff != "" {
						t.Errorf("%s: -want +got\n%s", k, diff)
					}
				}
			}
		})
	}
}

func TestMetadataValues(t *testing.T) {
	values := map[string]any{
		"text": "ü", "yes": true, "no": false, "number": -1.5, "huge": math.MaxFloat64, "null": nil,
		"list": []any{"a", []any{}, map[string]any{"x": 1.0}}, "map": map[string]any{"": "", "deep": map[string]any{"n": nil}},
	}
	var m exchange.Metadata
	for k, v := range values {
		m.Set(k, v)
	}
	want, err := structpb.NewStruct(map[string]any{"ns": values})
	if err != nil {
		t.Fatal(err)
	}
	var got structpb.Struct
	if err := proto.Unmarshal(wire.AppendMetadata(nil, "ns", &m), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestImmediate(t *testing.T) {
	code := 16
	for _, tt := range []struct {
		name string
		in   wire.Immediate
		want *extprocv3.ImmediateResponse
	}{
		{"all of it", wire.Immediate{Status: 401, Headers: []wire.Header{{Name: "a", Value: "1"}, {Name: "a", Value: "2", Add: true}},
			Body: []byte("no"), GRPCStatus: &code, Details: "policy_engine.x"},
			&extprocv3.ImmediateResponse{Status: &typev3.HttpStatus{Code: 401}, Body: []byte("no"), Details: "policy_engine.x",
				Headers:    &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{option("a", "1", false), option("a", "2", true)}},
				GrpcStatus: &extprocv3.GrpcStatus{Status: 16}}},
		{"the status alone", wire.Immediate{Status: 503}, &extprocv3.ImmediateResponse{Status: &typev3.HttpStatus{Code: 503}}},
		{"a large body", wire.Immediate{Status: 200, Body: make([]byte, 300_000)},
			&extprocv3.ImmediateResponse{Status: &typev3.HttpStatus{Code: 200}, Body: make([]byte, 300_000)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: tt.want}}
			if diff := difference(want, read(t, tt.in.Encode(nil))); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			var m exchange.Metadata
			m.Set("k", true)
			want.DynamicMetadata, _ = structpb.NewStruct(map[string]any{"ns": map[string]any{"k": true}})
			if diff := difference(want, read(t, tt.in.Encode(wire.AppendMetadata(nil, "ns", &m)))); diff != "" {
				t.Errorf("with metadata: -want +got\n%s", diff)
			}
		})
	}
}

// FuzzReply composes a reply from bytes and compares it with the generated types.
func FuzzReply(f *testing.F) {
	f.Add(byte(0), "x-a", "1", "x-b", []byte("body"), byte(3))
	f.Fuzz(func(t *testing.T, kind byte, name, value, removed string, body []byte, what byte) {
		name, value = strings.ToValidUTF8(name, ""), strings.ToValidUTF8(value, "")
		removed = strings.ToValidUTF8(removed, "")
		k := kinds[int(kind)%4]
		var r wire.Reply
		r.Reset(k)
		common := &extprocv3.CommonResponse{}
		if what&1 != 0 {
			r.SetHeader(name, value, what&2 != 0)
			common.HeaderMutation = &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{option(name, value, what&2 != 0)}}
		}
		if what&4 != 0 {
			r.RemoveHeader(removed)
			if common.HeaderMutation == nil {
				common.HeaderMutation = &extprocv3.HeaderMutation{}
			}
			common.HeaderMutation.RemoveHeaders = []string{removed}
		}
		if what&8 != 0 && len(body) > 0 {
			r.ReplaceBody(body)
			common.BodyMutation = &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_Body{Body: body}}
		}
		if what&16 != 0 {
			r.ClearRouteCache()
			common.ClearRouteCache = true
			if common.HeaderMutation == nil {
				common.HeaderMutation = &extprocv3.HeaderMutation{}
			}
		}
		want := continueWith(k, common)
		if proto.Equal(common, &extprocv3.CommonResponse{}) {
			want = continueWith(k, nil)
		}
		if diff := difference(want, read(t, r.Finish())); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// TestReplyAllocations proves that a reply's memory comes from the pool.
func TestReplyAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools lose what they hold under the race detector")
	}
	var r wire.Reply
	for name, tt := range map[string]struct {
		compose func()
		most    float64
	}{
		"nothing": {func() {}, 0},
		"headers": {func() { r.SetHeader("x-a", "1", false) }, 1}, // grpc's slice of one buffer
	} {
		if got := testing.AllocsPerRun(200, func() {
			r.Reset(wire.RequestHeaders)
			tt.compose()
			r.Finish().Free()
		}); got > tt.most {
			t.Errorf("%s: %v allocations, at most %v allowed", name, got, tt.most)
		}
	}
}

func BenchmarkReply(b *testing.B) {
	b.ReportAllocs()
	var r wire.Reply
	for b.Loop() {
		r.Reset(wire.RequestHeaders)
		for _, name := range [...]string{"x-a", "x-b", "x-c", "x-d", "x-e"} {
			r.SetHeader(name, "value", false)
		}
		r.Finish().Free()
	}
}
