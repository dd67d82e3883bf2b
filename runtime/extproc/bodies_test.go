package extproc_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"policyengine.dev/runtime/extproc/negotiate"
)

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func unzipped(t *testing.T, b []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var buffered = &negotiate.Settings{RequestTrailers: true, ResponseTrailers: true}

func bodyExchange(t *testing.T, chain string, o options, coding, body string) *stream {
	t.Helper()
	e := serve(t, oneChain(parseChain(t, chain)), o)
	e.stamp = buffered
	s := e.open(t, "r").withModes(modev3.ProcessingMode_BUFFERED, modev3.ProcessingMode_BUFFERED)
	s.call(requestHeaders(false, "content-encoding", coding, "content-length", "1"))
	s.send(requestBody(body, true))
	return s
}

// TestPlainBodies proves that policies that want plain bytes get them, and that what
// they make of them goes on in the coding that it came in.
func TestPlainBodies(t *testing.T) {
	t.Run("changed", func(t *testing.T) {
		r := bodyExchange(t, "request_body=see+twice decode", options{}, "gzip", zipped(t, "hello")).receive()
		common := r.GetRequestBody().GetResponse()
		got := setHeaders(common.GetHeaderMutation())
		if got["x-seen"] != "hello (true)" {
			t.Errorf("the policy saw %q", got["x-seen"])
		}
		sent := common.GetBodyMutation().GetBody()
		if unzipped(t, sent) != "hellohello" {
			t.Errorf("the body went on as %q", sent)
		}
		if want := len(sent); got["content-length"] != itoa(want) {
			t.Errorf("content-length is %q, want %d", got["content-length"], want)
		}
	})
	t.Run("not changed", func(t *testing.T) {
		r := bodyExchange(t, "request_body=see decode", options{}, "gzip", zipped(t, "hello")).receive()
		common := r.GetRequestBody().GetResponse()
		if common.GetBodyMutation() != nil || setHeaders(common.GetHeaderMutation())["content-length"] != "" {
			t.Errorf("the reply is %v", r)
		}
	})
	t.Run("its coding taken away", func(t *testing.T) {
		for _, chain := range []string{
			"request_body=remove(content-encoding) decode",
			"request_headers=remove(content-encoding) request_body=see decode",
		} {
			r := bodyExchange(t, chain, options{}, "gzip", zipped(t, "hello")).receive()
			common := r.GetRequestBody().GetResponse()
			got := setHeaders(common.GetHeaderMutation())
			if sent := common.GetBodyMutation().GetBody(); string(sent) != "hello" || got["content-length"] != "5" {
				t.Errorf("%s: the body went on as %q, with %v", chain, sent, got)
			}
			if seen := got["x-seen"]; seen != "" && seen != "hello (true)" {
				t.Errorf("%s: the policy saw %q", chain, seen)
			}
		}
	})
	t.Run("another coding", func(t *testing.T) {
		r := bodyExchange(t, "request_body=twice+set(content-encoding,gzip) decode", options{}, "identity", "hello").receive()
		if sent := r.GetRequestBody().GetResponse().GetBodyMutation().GetBody(); unzipped(t, sent) != "hellohello" {
			t.Errorf("the body went on as %q", sent)
		}
	})
	t.Run("a coding that is not known", func(t *testing.T) {
		s := bodyExchange(t, "request_body=set(content-encoding,secret) decode", options{}, "gzip", zipped(t, "hello"))
		immediate(t, s.receive(), 500, "policy_engine.FILTER_CANNOT_SERVE_CHAIN")
	})
	t.Run("an empty body has none", func(t *testing.T) {
		r := bodyExchange(t, "request_body=remove(content-encoding) decode", options{}, "gzip", "").receive()
		if common := r.GetRequestBody().GetResponse(); common.GetBodyMutation() != nil {
			t.Errorf("the reply is %v", r)
		}
	})
	t.Run("not wanted", func(t *testing.T) {
		body := zipped(t, "hello")
		r := bodyExchange(t, "request_body=twice", options{}, "gzip", body).receive()
		if got := r.GetRequestBody().GetResponse().GetBodyMutation().GetBody(); string(got) != body+body {
			t.Errorf("the body went on as %q", got)
		}
	})
	t.Run("in one piece for chunk policies", func(t *testing.T) {
		r := bodyExchange(t, "request_body_chunks=upper decode", options{}, "gzip", zipped(t, "hello")).receive()
		if got := unzipped(t, r.GetRequestBody().GetResponse().GetBodyMutation().GetBody()); got != "HELLO" {
			t.Errorf("the body went on as %q", got)
		}
	})
}

func TestBodiesThatCannotBeRead(t *testing.T) {
	for _, tt := range []struct {
		name, coding, body string
		status             int
		details            string
	}{
		{"an unknown coding", "aes128gcm", "hello", 415, "policy_engine.BODY_UNDECODABLE"},
		{"another coding than said", "gzip", "hello", 415, "policy_engine.BODY_UNDECODABLE"},
		{"a bomb", "gzip", zipped(t, strings.Repeat("0", 5000)), 413, "policy_engine.BODY_TOO_LARGE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := bodyExchange(t, "request_body=see decode", options{BodyLimit: 1000}, tt.coding, tt.body)
			immediate(t, s.receive(), tt.status, tt.details)
			s.ended()
		})
	}
	t.Run("of a response", func(t *testing.T) {
		e := serve(t, oneChain(parseChain(t, "response_body=see decode")), options{})
		e.stamp = buffered
		s := e.open(t, "r").withModes(modev3.ProcessingMode_NONE, modev3.ProcessingMode_BUFFERED)
		s.call(requestHeaders(true))
		s.call(responseHeaders(false, "content-encoding", "gzip"))
		immediate(t, s.call(responseBody("hello", true)), 502, "policy_engine.BODY_UNDECODABLE")
		s.ended()
	})
}

// TestHeadHasNoBodyToRead proves that what a HEAD response says of a body that does
// not come is not checked.
func TestHeadHasNoBodyToRead(t *testing.T) {
	e := serve(t, oneChain(parseChain(t, "response_body=see decode")), options{})
	e.stamp = buffered
	s := e.open(t, "r").withModes(none, wholeBody)
	m := requestHeaders(true)
	m.GetRequestHeaders().GetHeaders().GetHeaders()[0].RawValue = []byte("HEAD")
	s.call(m)
	r := s.call(responseHeaders(true, "content-encoding", "aes128gcm", "content-length", "99999999999"))
	if r.GetResponseHeaders() == nil {
		t.Errorf("the reply is %v", r)
	}
	s.ended()
}

// TestBodiesThatShouldNotBe proves that what comes as the body of a response that has
// none, by its status or by one that a policy gave it, is plain to policies as any.
func TestBodiesThatShouldNotBe(t *testing.T) {
	for _, chain := range []string{"response_body=see decode", "response_headers=status(204) response_body=see decode"} {
		for _, status := range []string{"204", "205", "304"} {
			e := serve(t, oneChain(parseChain(t, chain)), options{})
			e.stamp = buffered
			s := e.open(t, "r").withModes(none, wholeBody)
			s.call(requestHeaders(true))
			m := responseHeaders(false, "content-encoding", "gzip")
			m.GetResponseHeaders().GetHeaders().GetHeaders()[0].RawValue = []byte(status)
			s.call(m)
			r := s.call(responseBody(zipped(t, "hello"), true))
			if got := setHeaders(r.GetResponseBody().GetResponse().GetHeaderMutation()); got["x-seen"] != "hello (true)" {
				t.Errorf("%s, %s: the policy saw %q", chain, status, got["x-seen"])
			}
		}
	}
}

// TestLargeBodiesInPieces proves that no piece of a body in full duplex is larger
// than Envoy likes, and that nothing is lost.
func TestLargeBodiesInPieces(t *testing.T) {
	for _, size := range []int{0, 1, 60 << 10, 60<<10 + 1, 300_000} {
		body := strings.Repeat("x", size)
		e := serve(t, oneChain(parseChain(t, "request_body=pass")), options{})
		e.stamp = &negotiate.Settings{RequestTrailers: true}
		s := e.open(t, "r").withModes(modev3.ProcessingMode_FULL_DUPLEX_STREAMED, modev3.ProcessingMode_NONE)
		s.send(requestHeaders(false))
		s.send(requestBody(body, true))
		if s.receive().GetRequestHeaders() == nil {
			t.Fatal("the headers are not answered first")
		}
		var got []byte
		for end := false; !end; {
			piece := s.receive().GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse()
			if piece == nil || len(piece.GetBody()) >= 64<<10 {
				t.Fatalf("a piece of %d bytes", len(piece.GetBody()))
			}
			got, end = append(got, piece.GetBody()...), piece.GetEndOfStream()
		}
		if string(got) != body {
			t.Errorf("%d bytes arrived as %d", size, len(got))
		}
		s.ended()
	}
}

// TestUnknownRouteInFullDuplex proves that a request that may pass without a chain
// passes with its body.
func TestUnknownRouteInFullDuplex(t *testing.T) {
	e := serve(t, &source{unknown: 1}, options{})
	e.stamp = &negotiate.Settings{RequestTrailers: true}
	s := e.open(t, "r").withModes(modev3.ProcessingMode_FULL_DUPLEX_STREAMED, modev3.ProcessingMode_NONE)
	s.call(requestHeaders(false))
	r := s.call(requestBody("hello", true))
	want := &extprocv3.StreamedBodyResponse{Body: []byte("hello"), EndOfStream: true}
	if got := r.GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse(); got.String() != want.String() {
		t.Errorf("the body went on as %v", got)
	}
	s.ended()
}
