package extproc_test

import (
	"strings"
	"sync"
	"testing"

	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/memory"
)

// fuzzChains are chains that deny, each in another phase, and some that do not.
var fuzzChains = []struct {
	text string
	// denies says that no request may pass: one that is cut short by the
	// client, or that the filter never lets the chain see, may not either.
	denies bool
	// whole says that the denial waits for the body, so that headers may be
	// answered before it.
	whole bool
}{
	{text: "request_headers=deny(403)", denies: true},
	{text: "request_headers=deny(403) response_headers=set(x-a,1) request_body=twice", denies: true},
	{text: "request_headers=stuck+deny(403) response_body=pass", denies: true},
	{text: "request_body=deny(403)", denies: true, whole: true},
	{text: "request_body=deny(403) response_headers=pass request_trailers=set(x-a,1)", denies: true, whole: true},
	{text: "request_body_chunks=upper request_body=deny(403) limit=10", denies: true, whole: true},
	{text: "request_headers=pass request_body=deny(403) response_headers=pass response_body=twice without=response_headers,response_body", denies: true, whole: true},
	{text: "request_headers=set(x-a,1)+append(x-b,2)+remove(x-c) response_headers=set(x-a,1)"},
	{text: "request_body=twice response_body=twice response_trailers=set(x-a,1) decode"},
	{text: "request_body_chunks=hold response_body_chunks=upper"},
	{text: "request_headers=stuck+set(x-a,1) request_body_chunks=pass response_body_chunks=hold"},
	{text: "request_headers=set(x-a,1) request_body=twice request_body_chunks=upper response_body_chunks=hold without=request_body,response_body_chunks limit=9"},
}

// fuzzSettings are what filters allow.
var fuzzSettings = []*negotiate.Settings{
	nil, {ModeOverride: true}, {RequestTrailers: true, ResponseTrailers: true},
	{ModeOverride: true, SkipResponseHeaders: true, Routing: true},
}

// fuzzStream makes messages of bytes: two say what the stream is, each further one
// begins a message.
func fuzzStream(t testing.TB, data []byte) (messages [][]byte, local bool) {
	first := true
	for len(data) > 0 {
		op := data[0]
		data = data[1:]
		size := min(int(op>>4), len(data))
		text := strings.ToValidUTF8(string(data[:size]), "?")
		raw := data[:size]
		data = data[size:]
		end := op&8 != 0
		var m *extprocv3.ProcessingRequest
		switch op & 7 {
		case 0:
			m = requestHeaders(end, "x-c", text, "content-length", text)
		case 1:
			m = requestBody(text, end)
		case 2:
			m = requestTrailers("x-sum", text)
		case 3:
			m = responseHeaders(end, "content-encoding", text)
		case 4:
			m = responseBody(text, end)
		case 5:
			m = responseTrailers("grpc-status", text)
		case 6:
			m = &extprocv3.ProcessingRequest{ObservabilityMode: end}
		default:
			messages = append(messages, raw)
			first = false
			continue
		}
		if first {
			first = false
			fields := map[string]*structpb.Value{"xds.route_name": structpb.NewStringValue("r")}
			if op&7 == 3 && strings.HasPrefix(text, "l") {
				fields["response.code_details"] = structpb.NewStringValue("local")
				local = true
			}
			m.Attributes = map[string]*structpb.Struct{wire.AttributesKey: {Fields: fields}}
			if size > 1 {
				m.ProtocolConfig = &extprocv3.ProtocolConfiguration{
					RequestBodyMode:  modev3.ProcessingMode_BodySendMode(raw[0] % 5),
					ResponseBodyMode: modev3.ProcessingMode_BodySendMode(raw[1] % 5),
				}
			}
		}
		messages = append(messages, marshal(t, m))
	}
	return messages, local
}

// FuzzStream sends any sequence of messages to chains that deny and chains that do
// not. Whatever comes, nothing crashes, nothing is left behind, every reply is one,
// and what a chain denies does not pass.
func FuzzStream(f *testing.F) {
	f.Add(byte(0), byte(1), []byte{0x00, 0x11, 'a', 0x08})
	f.Add(byte(3), byte(1), []byte{0x20, 2, 0, 0x11, 'a', 0x19, 'b'})
	f.Add(byte(7), byte(0), []byte{0x20, 4, 4, 0x11, 'a', 0x02, 0x43, 'g', 'z', 'i', 'p', 0x14, 'x', 0x05})
	f.Add(byte(9), byte(1), []byte{0x10, '5', 0x11, 'a', 0x19, 'b', 0x03, 0x14, 'c', 0x1c, 'd'})
	f.Fuzz(func(t *testing.T, which, settings byte, data []byte) {
		if len(data) > 1000 {
			return
		}
		spec := fuzzChains[int(which)%len(fuzzChains)]
		c := parseChain(t, spec.text)
		s := oneChain(c)
		messages, local := fuzzStream(t, data)
		d := newDirect(fuzzSettings[int(settings)%len(fuzzSettings)], messages...)
		release := sync.OnceFunc(func() { close(c.release) })
		if len(c.stuck) > 0 {
			// What has taken over goes on while the policy is stuck, and the
			// stream is over when that comes back.
			go release()
		}
		if settings&1 != 0 {
			newFramed(d, 7)
		}
		account := memory.NewAccount(150)
		err := handlerOf(newService(s, options{BodyLimit: 100, PreferModeOverride: true, Memory: account}))(d)
		release()
		if n := account.Used(); n != 0 {
			t.Fatalf("%d bytes of the account are left", n)
		}
		if status.Code(err) == codes.Internal && strings.Contains(err.Error(), "the policy engine failed") {
			t.Fatal("the kernel panicked")
		}
		if s.acquired.Load() != s.released.Load() || c.begun.Load() != c.ended.Load() {
			t.Fatalf("acquired %d, released %d, began %d, ended %d", s.acquired.Load(), s.released.Load(), c.begun.Load(), c.ended.Load())
		}
		checkReplies(t, d)
		checkKinds(t, d)
		if spec.denies && !local {
			checkDenied(t, d, err, spec.whole)
		}
	})
}

// checkReplies checks what holds for every stream.
func checkReplies(t *testing.T, d *direct) {
	t.Helper()
	for i, r := range d.replies {
		if r.GetResponse() == nil {
			t.Fatalf("reply %d is spurious: %v", i, r)
		}
		if r.GetImmediateResponse() != nil && i != len(d.replies)-1 {
			t.Fatalf("something was said after an immediate response: %v", d.replies[i+1])
		}
	}
}

// checkKinds checks that each message was answered once and by its own kind, which
// holds wherever there is no full duplex.
func checkKinds(t *testing.T, d *direct) {
	t.Helper()
	var m wire.Message
	for i, r := range d.replies {
		if wire.Decode(d.messages[i], &m) != nil {
			t.Fatalf("message %d cannot be read, and was answered", i)
		}
		if i == 0 && (m.Observability || m.Protocol.RequestBody == wire.BodyFullDuplex || m.Protocol.ResponseBody == wire.BodyFullDuplex) {
			return
		}
		if r.GetImmediateResponse() != nil {
			continue
		}
		got := r.ProtoReflect().WhichOneof(r.ProtoReflect().Descriptor().Oneofs().ByName("response")).Name()
		if string(got) != m.Kind.String() {
			t.Fatalf("message %d is %s and was answered by %s", i, m.Kind, got)
		}
		o := r.GetModeOverride()
		if o.GetRequestBodyMode() == fullDuplex || o.GetResponseBodyMode() == fullDuplex {
			return
		}
	}
}

// checkDenied checks that the request cannot have passed.
func checkDenied(t *testing.T, d *direct, err error, whole bool) {
	t.Helper()
	observing := len(d.messages) > 0 && d.messages[0] != nil && len(d.replies) == 0 && err == nil
	if observing {
		// Envoy does not wait in observability mode, and did not end the stream
		// otherwise.
		var m wire.Message
		if wire.Decode(d.messages[0], &m) == nil && m.Observability {
			return
		}
	}
	for i, r := range d.replies {
		if r.GetImmediateResponse() != nil {
			return
		}
		headers := r.GetRequestHeaders()
		if !whole || headers == nil {
			t.Fatalf("reply %d lets something pass: %v", i, r)
		}
	}
	if err == nil && !d.ended {
		t.Fatalf("the stream was ended cleanly after %d of %d messages, which lets the request pass", d.read, len(d.messages))
	}
}
