package jsonschemavalidation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	jsonschemavalidation "policyengine.dev/policies/json-schema-validation/v1.0.0"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, jsonschemavalidation.Policy, "testdata/cases.yaml")
}

func post(body string) policytest.Request {
	return policytest.Request{Method: "POST", Headers: policytest.Headers("content-type", "application/json"), Body: body}
}

// TestDepth proves that nesting is bounded.
func TestDepth(t *testing.T) {
	p := policytest.New(t, jsonschemavalidation.Policy, `{request: {schema: {}}}`)
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	p.Send(t, post(nested(64))).WantPassed(t)
	p.Send(t, post(nested(65))).WantRejected(t, 400, jsonschemavalidation.ReasonNotJSON)
	p.Send(t, post(nested(100_000))).WantRejected(t, 400, jsonschemavalidation.ReasonNotJSON)
}

// TestAnswersAreBounded proves that a body with many mistakes gets a short answer.
func TestAnswersAreBounded(t *testing.T) {
	p := policytest.New(t, jsonschemavalidation.Policy, `{request: {schema: {items: {type: string}}}}`)
	x := p.Send(t, post("["+strings.Repeat("1,", 10_000)+"1]"))
	x.WantRejected(t, 400, jsonschemavalidation.ReasonInvalid)
	var answer struct{ Errors []struct{ At, Rule string } }
	if err := json.Unmarshal(x.Immediate.Body, &answer); err != nil || len(answer.Errors) != 10 {
		t.Errorf("%v, %d errors are named", err, len(answer.Errors))
	}
}

const schema = `{request: {schema: {type: object, properties: {amount: {type: integer}, note: {type: string, maxLength: 5}}, additionalProperties: {type: array}}}}`

// FuzzRequest proves that no body panics, that a body which encoding/json refuses never
// passes, and that answers repeat nothing of it.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{`{}`, `{"amount": 1}`, `{"note": "secret-value"}`, `{"secret-name": 1}`, `{"a": 1, "a": 2}`, "\xff", `[1e400]`} {
		f.Add(s)
	}
	p := policytest.New(f, jsonschemavalidation.Policy, schema)
	f.Fuzz(func(t *testing.T, body string) {
		x := p.Send(t, post(body))
		if x.Immediate == nil {
			d := json.NewDecoder(strings.NewReader(body))
			var v any
			if d.Decode(&v) != nil {
				t.Errorf("%q passed", body)
			}
			if _, err := d.Token(); err != io.EOF {
				t.Errorf("%q passed", body)
			}
			return
		}
		if strings.Contains(body, "secret") && bytes.Contains(x.Immediate.Body, []byte("secret")) {
			t.Errorf("the answer repeats the body: %s", x.Immediate.Body)
		}
	})
}

// BenchmarkOnRequestBody compares with the bare decoding of encoding/json.
func BenchmarkOnRequestBody(b *testing.B) {
	var lines []string
	for i := range 100 {
		lines = append(lines, fmt.Sprintf(`"line-%d": [%d, "text", {"a": true}]`, i, i))
	}
	body := "{" + strings.Join(lines, ",") + "}"
	p := policytest.New(b, jsonschemavalidation.Policy, schema)
	instance := p.Instance.(*jsonschemavalidation.Validation)
	x := p.Send(b, post(body))
	b.Run("policy", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			if a, err := instance.OnRequestBody(b.Context(), &x.Request); a != nil || err != nil {
				b.Fatal(a, err)
			}
		}
	})
	b.Run("encoding/json alone", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			var v any
			if err := json.Unmarshal([]byte(body), &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
