package load

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// RequestHeaders is a request of eleven headers, pseudo-headers included, as Envoy
// v1.36.2 sends it with the attribute xds.route_name.
func RequestHeaders(route string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{
			Headers: headers(
				":method", "POST", ":scheme", "https", ":authority", "api.example.com", ":path", "/v1/charges?limit=3",
				"user-agent", "bench/1.0", "accept", "application/json", "content-type", "application/json",
				"authorization", "Bearer 0123456789abcdef0123456789abcdef", "x-forwarded-proto", "https",
				"x-request-id", "0c9c6f3e-0f52-4c3e-9d5e-5e2b5f6b7a80", "idempotency-key", "9f2c7d1e",
			),
			EndOfStream: true,
		}},
		Attributes: map[string]*structpb.Struct{
			"envoy.filters.http.ext_proc": {Fields: map[string]*structpb.Value{"xds.route_name": structpb.NewStringValue(route)}},
		},
		ProtocolConfig: &extprocv3.ProtocolConfiguration{},
	}
}

// ResponseHeaders is a response of five headers.
func ResponseHeaders() *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &extprocv3.HttpHeaders{
			Headers: headers(
				":status", "200", "content-type", "application/json", "content-length", "128",
				"date", "Sun, 22 Nov 2026 12:00:00 GMT", "x-envoy-upstream-service-time", "4",
			),
		}},
	}
}

// Encode encodes messages for [Options.Messages].
func Encode(messages ...proto.Message) ([][]byte, error) {
	var all [][]byte
	for _, m := range messages {
		b, err := proto.Marshal(m)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

func headers(pairs ...string) *corev3.HeaderMap {
	m := &corev3.HeaderMap{}
	for i := 0; i < len(pairs); i += 2 {
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
	}
	return m
}
