package bodylimit_test

import (
	"strings"
	"testing"

	bodylimit "policyengine.dev/policies/body-limit/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, bodylimit.Policy, "testdata/cases.yaml")
}

// TestTheLimitIsExact proves, however the body is cut, that a body of the limit's
// length passes and one of a byte more does not.
func TestTheLimitIsExact(t *testing.T) {
	const limit = 12
	p := policytest.New(t, bodylimit.Policy, `{request: {maxBytes: 12}, response: {maxBytes: 12}}`)
	for size := 1; size <= limit+1; size++ {
		for _, length := range []int{limit, limit + 1} {
			x := p.Send(t, policytest.Request{Method: "POST", Chunks: cut(length, size)})
			if refused := x.Immediate != nil; refused != (length > limit) {
				t.Errorf("a request of %d bytes in pieces of %d: refused is %t", length, size, refused)
			}
			x = p.Respond(t, policytest.Response{Chunks: cut(length, size)})
			if refused := x.Immediate != nil; refused != (length > limit) {
				t.Errorf("a response of %d bytes in pieces of %d: refused is %t", length, size, refused)
			}
		}
	}
}

func cut(length, size int) (pieces []string) {
	for rest := strings.Repeat("x", length); rest != ""; {
		n := min(size, len(rest))
		pieces, rest = append(pieces, rest[:n]), rest[n:]
	}
	return pieces
}

// TestOnlyWhatIsNeededIsAskedFor proves that bodies are shown only where they are counted.
func TestOnlyWhatIsNeededIsAskedFor(t *testing.T) {
	for params, want := range map[string]policy.PhaseSet{
		`{request: {maxBytes: 1}}`:                          policy.Phases(policy.RequestHeaders, policy.RequestBodyChunks),
		`{request: {maxBytes: 1, withoutLength: refuse}}`:   policy.Phases(policy.RequestHeaders, policy.RequestBodyChunks),
		`{request: {maxBytes: 1, withoutLength: ignore}}`:   policy.Phases(policy.RequestHeaders),
		`{response: {maxBytes: 1}}`:                         policy.Phases(policy.ResponseHeaders, policy.ResponseBodyChunks),
		`{response: {maxBytes: 1, withoutLength: ignore}}`:  policy.Phases(policy.ResponseHeaders),
		`{request: {maxBytes: 1}, response: {maxBytes: 1}}`: policy.Phases(policy.RequestHeaders, policy.RequestBodyChunks, policy.ResponseHeaders, policy.ResponseBodyChunks),
	} {
		p := policytest.New(t, bodylimit.Policy, params)
		if got := policy.ActivePhases(p.Instance); got != want {
			t.Errorf("%s: phases are %v, want %v", params, got, want)
		}
	}
}

// TestAChunkCostsOneAllocation proves that counting keeps nothing but a number.
func TestAChunkCostsOneAllocation(t *testing.T) {
	p := policytest.New(t, bodylimit.Policy, `{request: {maxBytes: 1000000000}}`)
	instance := p.Instance.(*bodylimit.BodyLimit)
	x := p.Send(t, policytest.Request{Method: "POST"})
	data := make([]byte, 1024)
	if n := testing.AllocsPerRun(100, func() {
		chunk := policy.Chunk{Data: data}
		for range 10 {
			if a, err := instance.OnRequestBodyChunk(t.Context(), &x.Request, &chunk); a != nil || err != nil {
				t.Fatal(a, err)
			}
		}
	}); n > 2 { // the counter and, here, the chunk itself
		t.Errorf("%v allocations for ten chunks", n)
	}
}

func BenchmarkOnRequestBodyChunk(b *testing.B) {
	p := policytest.New(b, bodylimit.Policy, `{request: {maxBytes: 1099511627776}}`)
	instance := p.Instance.(*bodylimit.BodyLimit)
	x := p.Send(b, policytest.Request{Method: "POST"})
	chunk := policy.Chunk{Data: make([]byte, 16<<10)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := instance.OnRequestBodyChunk(b.Context(), &x.Request, &chunk); err != nil {
			b.Fatal(err)
		}
		*chunk.State.(*uint64) = 0
	}
}
