package responsemasking_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	responsemasking "policyengine.dev/policies/response-masking/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, responsemasking.Policy, "testdata/cases.yaml")
}

const text = `{"a":"4111 1111 1111 1111","b":[5500005555555559,"x\"4111111111111111"],"iban":"DE89 3704 0044 0532 0130 00 AND","q":"\\","n":378282246310005}`

// TestAnyCut proves that what a client gets does not depend on how the body is cut.
func TestAnyCut(t *testing.T) {
	whole := policytest.New(t, responsemasking.Policy, `{}`)
	stream := policytest.New(t, responsemasking.Policy, `{mode: stream}`)
	headers := policytest.Headers("content-type", "application/json")
	want := whole.Respond(t, policytest.Response{Headers: headers, Body: text}).ResponseBody()
	for _, number := range []string{"4111 1111 1111 1111", "5500005555555559", "4111111111111111", "3704 0044", "378282246310005"} {
		if strings.Contains(want, number) {
			t.Errorf("%s is in %s", number, want)
		}
	}
	if !json.Valid([]byte(want)) {
		t.Errorf("%s is no JSON any more", want)
	}
	for size := 1; size <= len(text); size++ {
		if got := stream.Respond(t, policytest.Response{Headers: headers, Chunks: cut(text, func() int { return size })}).ResponseBody(); got != want {
			t.Fatalf("in pieces of %d bytes: %s, want %s", size, got, want)
		}
	}
}

func cut(s string, size func() int) (pieces []string) {
	for s != "" {
		n := min(size(), len(s))
		pieces, s = append(pieces, s[:n]), s[n:]
	}
	return pieces
}

// TestNothingIsHeldForLong proves that a stream holds back less than 70 bytes, whatever
// passes, so that neither memory nor a client's patience is at risk.
func TestNothingIsHeldForLong(t *testing.T) {
	p := policytest.New(t, responsemasking.Policy, `{mode: stream}`)
	instance := p.Instance.(*responsemasking.Masking)
	for _, endless := range []string{"4", "4 ", "1-", "A", "DE89 ", "DE 89", "x", "\n", "4111 1111 1111 1111 "} {
		x := p.Respond(t, policytest.Response{Headers: policytest.Headers("content-type", "text/plain")})
		var state any
		in, out := 0, 0
		for range 1000 {
			chunk := policy.Chunk{Data: []byte(endless), State: state}
			a, err := instance.OnResponseBodyChunk(t.Context(), &x.Response, &chunk)
			if err != nil {
				t.Fatal(err)
			}
			state, in = chunk.State, in+len(endless)
			if data, ok := policy.ChunkReplacement(a); ok {
				out += len(data)
			} else {
				out += len(endless)
			}
			if in-out > 70 {
				t.Fatalf("%q: %d bytes are held back", endless, in-out)
			}
		}
	}
}

// TestAnEventIsNotHeld proves that the end of a server-sent event passes at once.
func TestAnEventIsNotHeld(t *testing.T) {
	p := policytest.New(t, responsemasking.Policy, `{mode: stream}`)
	x := p.Respond(t, policytest.Response{Headers: policytest.Headers("content-type", "text/event-stream"), Chunks: []string{"data: 41111", "11111111111\n\n", ""}})
	if got := x.ResponseChunks; len(got) != 3 || got[0] != "data: " || got[1] != "************1111\n\n" {
		t.Errorf("the pieces are %q", got)
	}
}

// FuzzStream proves that a cut body comes out as a whole one does, and that no card
// number that stands alone passes.
func FuzzStream(f *testing.F) {
	f.Add(text, uint64(1), true)
	f.Add("4111 1111-1111 1111 DE89370400440532013000", uint64(2), false)
	whole := policytest.New(f, responsemasking.Policy, `{keepLast: 0}`)
	stream := policytest.New(f, responsemasking.Policy, `{keepLast: 0, mode: stream}`)
	f.Fuzz(func(t *testing.T, body string, seed uint64, isJSON bool) {
		if body == "" {
			return
		}
		contentType := "text/plain"
		if isJSON {
			contentType = "application/json"
		}
		headers := policytest.Headers("content-type", contentType)
		random := rand.New(rand.NewPCG(seed, 0))
		want := whole.Respond(t, policytest.Response{Headers: headers, Body: body}).ResponseBody()
		got := stream.Respond(t, policytest.Response{Headers: headers, Chunks: cut(body, func() int { return 1 + random.IntN(20) })}).ResponseBody()
		if got != want {
			t.Errorf("%q is cut to %q, and whole to %q", body, got, want)
		}
		if len(want) != len(body) || json.Valid([]byte(body)) && isJSON && !json.Valid([]byte(want)) {
			t.Errorf("%q becomes %q", body, want)
		}
		if !isJSON {
			const card = "4111 1111 1111 1111"
			alone := whole.Respond(t, policytest.Response{Headers: headers, Body: body + "\n" + card + "\n" + body}).ResponseBody()
			if got := alone[len(body)+1:][:len(card)]; got != "**** **** **** ****" {
				t.Errorf("a card passes as %q between %q", got, body)
			}
		}
	})
}

// FuzzPointers proves that what is masked stays JSON, without the value.
func FuzzPointers(f *testing.F) {
	f.Add(`{"a":{"b":"secret"}}`)
	f.Add(`{"a":[{"b":"secret"}],"b":1}`)
	p := policytest.New(f, responsemasking.Policy, `{cards: false, ibans: false, pointers: [/a]}`)
	f.Fuzz(func(t *testing.T, body string) {
		if body == "" {
			return
		}
		x := p.Respond(t, policytest.Response{Headers: policytest.Headers("content-type", "application/json"), Body: body})
		if x.Immediate != nil {
			return
		}
		var v any
		if err := json.Unmarshal([]byte(x.ResponseBody()), &v); err != nil {
			t.Fatalf("%q becomes %q: %v", body, x.ResponseBody(), err)
		}
		if object, ok := v.(map[string]any); ok {
			if a, ok := object["a"]; ok && a != "***" {
				t.Errorf("%q becomes %q", body, x.ResponseBody())
			}
		}
	})
}

// BenchmarkOnResponseBody compares with a copy of the body.
func BenchmarkOnResponseBody(b *testing.B) {
	body := strings.Repeat(text, 100)
	p := policytest.New(b, responsemasking.Policy, `{}`)
	instance := p.Instance.(*responsemasking.Masking)
	for name, contentType := range map[string]string{"masked": "text/plain", "passed by its type": "image/png"} {
		x := p.Respond(b, policytest.Response{Headers: policytest.Headers("content-type", contentType), Body: body})
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := instance.OnResponseBody(b.Context(), &x.Response); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
