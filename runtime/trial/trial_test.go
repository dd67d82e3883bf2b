package trial_test

import (
	"strings"
	"testing"

	"policyengine.dev/runtime/trial"
)

// TestParse proves which request files are good, and that each problem has its place.
func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, src, problem string }{
		{"the least", `route: r`, ""},
		{"everything", `{route: r, method: POST, scheme: http, authority: a, path: /p, headers: {a: b, c: [d, e]}, body: x,
trailers: {t: "1"}, attributes: {source.port: 1}, response: {status: 201, headers: {a: b}, body: [x, y], trailers: {t: u}}}`, ""},
		{"a body in base64", `{route: r, body: {base64: aGk=}}`, ""},
		{"no route", `method: GET`, "route is missing"},
		{"an unknown field", `{route: r, metod: GET}`, `did you mean "method"?`},
		{"a number as a header", `{route: r, headers: {a: 1}}`, `headers.a: not a string`},
		{"a pseudo-header", `{route: r, headers: {":path": /}}`, "not the name of a header"},
		{"a status that is none", `{route: r, response: {status: 100}}`, "200 to 599"},
		{"what is not base64", `{route: r, body: {base64: "?"}}`, "not base64"},
		{"a body of numbers", `{route: r, body: [1]}`, "not a string"},
		{"two problems at once", `{headers: [], body: 1}`, "not a body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := trial.Parse("request.yaml", []byte(tt.src))
			switch {
			case tt.problem == "" && err != nil:
				t.Error(err)
			case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem) || !strings.Contains(err.Error(), "request.yaml:1:")):
				t.Errorf("the error is %v, want one that says %q and where", err, tt.problem)
			}
		})
	}
}

// FuzzParse proves that no file makes Parse fail otherwise than with an error.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{route: r, headers: {a: [b]}, body: {base64: aGk=}, attributes: {a: {b: [1]}}, response: {}}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		if file, err := trial.Parse("f", src); err == nil && file.Route == "" {
			t.Error("a file without a route is accepted")
		}
	})
}
