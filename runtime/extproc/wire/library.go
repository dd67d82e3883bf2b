package wire

import (
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/sdk/exchange"
)

// decodeByLibrary reads a message of any form by way of the generated types.
func decodeByLibrary(data []byte, m *Message) error {
	var p extprocv3.ProcessingRequest
	if err := proto.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("decoding a ProcessingRequest: %w", err)
	}
	m.Observability = p.GetObservabilityMode()
	if c := p.GetProtocolConfig(); c != nil {
		m.HasProtocol = true
		m.Protocol = ProtocolConfig{
			RequestBody:            BodyMode(c.GetRequestBodyMode()),
			ResponseBody:           BodyMode(c.GetResponseBodyMode()),
			SendBodyWithoutWaiting: c.GetSendBodyWithoutWaitingForHeaderResponse(),
		}
	}
	if s := p.GetAttributes()[AttributesKey]; len(s.GetFields()) > 0 {
		a, err := canonicalStruct(s)
		if err != nil {
			return fmt.Errorf("encoding the attributes of a ProcessingRequest: %w", err)
		}
		m.Attributes = a
	}
	switch r := p.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		m.addHeaders(RequestHeaders, r.RequestHeaders.GetHeaders())
		m.EndOfStream = r.RequestHeaders.GetEndOfStream()
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		m.addHeaders(ResponseHeaders, r.ResponseHeaders.GetHeaders())
		m.EndOfStream = r.ResponseHeaders.GetEndOfStream()
	case *extprocv3.ProcessingRequest_RequestBody:
		m.addBody(RequestBody, r.RequestBody)
	case *extprocv3.ProcessingRequest_ResponseBody:
		m.addBody(ResponseBody, r.ResponseBody)
	case *extprocv3.ProcessingRequest_RequestTrailers:
		m.addHeaders(RequestTrailers, r.RequestTrailers.GetTrailers())
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		m.addHeaders(ResponseTrailers, r.ResponseTrailers.GetTrailers())
	}
	return nil
}

func (m *Message) addHeaders(k Kind, headers *corev3.HeaderMap) {
	m.Kind = k
	for _, h := range headers.GetHeaders() {
		value := string(h.GetRawValue())
		if value == "" {
			value = h.GetValue()
		}
		m.addHeader(exchange.Lower(h.GetKey()), value)
	}
}

func (m *Message) addBody(k Kind, b *extprocv3.HttpBody) {
	m.Kind, m.EndOfStream = k, b.GetEndOfStream()
	m.setBody(b.GetBody())
}

// canonicalStruct is the form of a Struct that [Attributes] reads: nothing unknown
// in it, each key once, each value with one member.
func canonicalStruct(s *structpb.Struct) (Attributes, error) {
	plain := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(s.GetFields()))}
	for name, v := range s.GetFields() {
		plain.Fields[name] = &structpb.Value{Kind: v.GetKind()}
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(plain)
	return Attributes(b), err
}
