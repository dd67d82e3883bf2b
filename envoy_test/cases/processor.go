package cases

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Step is what a scripted processor does about one message: suites without chains
// show by it what Envoy does, whatever an engine makes of it.
type Step struct {
	// Got is the kind of message that has to come, such as request_headers;
	// "nothing" is that none comes any more. Empty takes no message: only the
	// rest is done.
	Got string `yaml:"got"`
	// Headers are some of its headers or trailers, Body and BodySize its body,
	// EndOfStream its flag.
	Headers     Headers `yaml:"headers"`
	Body        *string `yaml:"body"`
	BodySize    *int    `yaml:"bodySize"`
	EndOfStream *bool   `yaml:"endOfStream"`
	// Attributes are all attributes that have to come with it: numbers, truth
	// values and texts, each of its kind.
	Attributes map[string]any `yaml:"attributes"`
	// MetadataContext is all of the dynamic metadata that has to come with it,
	// by namespace.
	MetadataContext map[string]any `yaml:"metadataContext"`
	// Has is a ProcessingRequest in text format, the single fields of which the
	// message has to have.
	Has string `yaml:"has"`
	// Without are fields that it does not have.
	Without []string `yaml:"without"`
	// Metadata is some of the stream's initial metadata.
	Metadata Headers `yaml:"metadata"`
	// Gather waits until so many streams of requests sent together have got to
	// this step, and UntilAnswered until another of those requests is answered.
	Gather        int  `yaml:"gather"`
	UntilAnswered bool `yaml:"untilAnswered"`
	// Pause is made then.
	Pause time.Duration `yaml:"pause"`
	// Send are ProcessingResponse messages in text format.
	Send []string `yaml:"send"`
	// Last says that whatever comes after this step is of no interest.
	Last bool `yaml:"last"`
	// End ends the stream with this gRPC code; OK is a clean end. Without one
	// the stream is left to Envoy after the last step.
	End string `yaml:"end"`
}

// filterName is the key of all attributes.
const filterName = "envoy.filters.http.ext_proc"

// processor plays the script of the exchange at hand.
type processor struct {
	extproc.UnimplementedExternalProcessorServer
	address string

	mu    sync.Mutex
	round *round
}

// play sets the script for the streams that follow.
func (p *processor) play(r *round) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round = r
}

// Process implements the service.
func (p *processor) Process(stream extproc.ExternalProcessor_ProcessServer) error {
	p.mu.Lock()
	r := p.round
	p.mu.Unlock()
	var d differences
	over := sync.OnceFunc(func() { r.played <- d })
	defer over()
	return r.follow(stream, &d, over)
}

// follow plays the script. It calls over when what follows does not matter.
func (r *round) follow(stream extproc.ExternalProcessor_ProcessServer, d *differences, over func()) error {
	for i, step := range r.script {
		if err := r.step(stream, step, d, i); err != nil {
			d.add("step %d of the processor: %v", i, err)
			return err
		}
		if step.End != "" {
			return step.end()
		}
		if step.Last {
			over()
		}
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) || err != nil && status.Code(err) == codes.Canceled {
			return nil
		}
		if err != nil {
			return err
		}
		d.add("the processor got %s after the last step", kind(message))
	}
}

func (r *round) step(stream extproc.ExternalProcessor_ProcessServer, s Step, d *differences, i int) error {
	if s.Metadata != nil {
		md, _ := metadata.FromIncomingContext(stream.Context())
		for _, h := range s.Metadata {
			if got := md.Get(h.Name); !slices.Equal(got, h.Values) {
				d.add("step %d: the stream's metadata %s is %q, want %q", i, h.Name, got, h.Values)
			}
		}
	}
	if s.Got != "" {
		message, err := stream.Recv()
		switch {
		case s.Got == "nothing" && err == nil:
			return fmt.Errorf("got %s, want nothing", kind(message))
		case s.Got == "nothing":
			return nil
		case err != nil:
			return fmt.Errorf("got no %s: %w", s.Got, err)
		case kind(message) != s.Got:
			return fmt.Errorf("got %s, want %s", kind(message), s.Got)
		}
		if err := s.compare(message, d, i); err != nil {
			return err
		}
	}
	if err := r.wait(stream.Context(), s); err != nil {
		return err
	}
	time.Sleep(s.Pause)
	for _, text := range s.Send {
		reply := new(extproc.ProcessingResponse)
		if err := prototext.Unmarshal([]byte(text), reply); err != nil {
			return fmt.Errorf("reading what to send: %w", err)
		}
		if err := stream.Send(reply); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
	}
	return nil
}

func (s Step) end() error {
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(`"` + s.End + `"`)); err != nil {
		return err
	}
	return status.Error(code, "as the case says")
}

func kind(m *extproc.ProcessingRequest) string {
	r := m.ProtoReflect()
	if field := r.WhichOneof(r.Descriptor().Oneofs().ByName("request")); field != nil {
		return string(field.Name())
	}
	return "an empty message"
}

func (s Step) compare(m *extproc.ProcessingRequest, d *differences, i int) error {
	headers, body, end := parts(m)
	for _, h := range s.Headers {
		if got := values(headers, h.Name); !slices.Equal(got, h.Values) {
			d.add("step %d: the message's %s is %q, want %q", i, h.Name, got, h.Values)
		}
	}
	d.body(fmt.Sprintf("step %d: the message's body", i), body, s.Body, s.BodySize)
	if s.EndOfStream != nil && end != *s.EndOfStream {
		d.add("step %d: end_of_stream is %t, want %t", i, end, *s.EndOfStream)
	}
	if s.Attributes != nil {
		s.attributes(m, d, i)
	}
	if s.MetadataContext != nil {
		s.metadataContext(m, d, i)
	}
	for _, name := range s.Without {
		r := m.ProtoReflect()
		field := r.Descriptor().Fields().ByName(protoreflect.Name(name))
		if field == nil || r.Has(field) {
			d.add("step %d: the message has %s, or there is no such field", i, name)
		}
	}
	if s.Has == "" {
		return nil
	}
	want := new(extproc.ProcessingRequest)
	if err := prototext.Unmarshal([]byte(s.Has), want); err != nil {
		return fmt.Errorf("reading what the message has: %w", err)
	}
	both := proto.Clone(m)
	proto.Merge(both, want)
	if !proto.Equal(both, m) {
		d.add("step %d: the message is %s, want in it %s", i, prototext.MarshalOptions{}.Format(m), s.Has)
	}
	return nil
}

func (s Step) attributes(m *extproc.ProcessingRequest, d *differences, i int) {
	got := m.GetAttributes()[filterName].AsMap()
	for name, want := range s.Attributes {
		if value := got[name]; !same(value, want) {
			d.add("step %d: the attribute %s is %#v, want %#v", i, name, value, want)
		}
	}
	for name, value := range got {
		if _, wanted := s.Attributes[name]; !wanted {
			d.add("step %d: there is an attribute %s: %#v", i, name, value)
		}
	}
}

func (s Step) metadataContext(m *extproc.ProcessingRequest, d *differences, i int) {
	got := map[string]any{}
	for namespace, value := range m.GetMetadataContext().GetFilterMetadata() {
		got[namespace] = value.AsMap()
	}
	if !same(got, s.MetadataContext) {
		d.add("step %d: the dynamic metadata is %v, want %v", i, got, s.MetadataContext)
	}
}

// same compares what came in a protobuf Value with what a file says, in which whole
// numbers are of another type.
func same(got, want any) bool {
	a, err := json.Marshal(got)
	if err != nil {
		return false
	}
	b, err := json.Marshal(want)
	return err == nil && bytes.Equal(a, b)
}

// parts are those of whichever message it is.
func parts(m *extproc.ProcessingRequest) (headers []*corev3.HeaderValue, body []byte, end bool) {
	for _, h := range []*extproc.HttpHeaders{m.GetRequestHeaders(), m.GetResponseHeaders()} {
		if h != nil {
			return h.GetHeaders().GetHeaders(), nil, h.GetEndOfStream()
		}
	}
	for _, b := range []*extproc.HttpBody{m.GetRequestBody(), m.GetResponseBody()} {
		if b != nil {
			return nil, b.GetBody(), b.GetEndOfStream()
		}
	}
	for _, t := range []*extproc.HttpTrailers{m.GetRequestTrailers(), m.GetResponseTrailers()} {
		if t != nil {
			return t.GetTrailers().GetHeaders(), nil, true
		}
	}
	return nil, nil, false
}

func values(headers []*corev3.HeaderValue, name string) []string {
	var all []string
	for _, h := range headers {
		if h.GetKey() == name {
			value := string(h.GetRawValue())
			if h.GetValue() != "" {
				value += " and not raw: " + h.GetValue()
			}
			all = append(all, value)
		}
	}
	return all
}
