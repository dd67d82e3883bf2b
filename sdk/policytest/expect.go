package policytest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/strictyaml"
)

// expectation is what a case expects; what is not named is not compared.
type expectation struct {
	Refused   *string                    `yaml:"refused"`
	Error     *string                    `yaml:"error"`
	Immediate *wantedImmediate           `yaml:"immediate"`
	Skipped   *string                    `yaml:"skipped"`
	Request   *wantedRequest             `yaml:"request"`
	Response  *wantedResponse            `yaml:"response"`
	Principal wantedPrincipal            `yaml:"principal"`
	Metadata  map[string]strictyaml.Node `yaml:"metadata"`
	Dynamic   map[string]strictyaml.Node `yaml:"dynamic"`
}

type wantedImmediate struct {
	Status     int                     `yaml:"status,required"`
	Reason     *string                 `yaml:"reason"`
	Headers    map[string]wantedValues `yaml:"headers"`
	Body       *string                 `yaml:"body"`
	GRPCStatus *int                    `yaml:"grpcStatus"`
}

type wantedRequest struct {
	Method    *string                 `yaml:"method"`
	Authority *string                 `yaml:"authority"`
	Target    *string                 `yaml:"target"`
	Headers   map[string]wantedValues `yaml:"headers"`
	Body      *string                 `yaml:"body"`
	Trailers  map[string]wantedValues `yaml:"trailers"`
}

type wantedResponse struct {
	Status   *int                    `yaml:"status"`
	Headers  map[string]wantedValues `yaml:"headers"`
	Body     *string                 `yaml:"body"`
	Trailers map[string]wantedValues `yaml:"trailers"`
}

// wantedPrincipal tells "no principal" (null) from one that is not compared.
type wantedPrincipal struct {
	given bool
	want  *casePrincipal
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (w *wantedPrincipal) UnmarshalNode(n strictyaml.Node) error {
	w.given = true
	if n.Kind() == strictyaml.Null {
		return nil
	}
	w.want = &casePrincipal{}
	return n.Decode(w.want)
}

// ends is the number of ways in which the case is said to end.
func (e *expectation) ends() int {
	n := 0
	for _, given := range []bool{e.Refused != nil, e.Error != nil, e.Immediate != nil} {
		if given {
			n++
		}
	}
	return n
}

// check compares the exchange with what is expected; at is where that stands.
func (e *expectation) check(t testing.TB, at strictyaml.Node, x *Exchange) {
	t.Helper()
	if e.Immediate != nil {
		e.Immediate.check(t, at.At("immediate"), x)
	} else {
		x.WantPassed(located{t, at})
	}
	if e.Skipped != nil {
		reason := ""
		if x.Skipped != nil {
			reason = x.Skipped.Reason
		}
		equal(t, at.At("skipped"), "reason for which the rest is skipped", reason, e.Skipped)
	}
	if w := e.Request; w != nil {
		r, at := &x.data.Request, at.At("request")
		equal(t, at.At("method"), "method", r.Method, w.Method)
		equal(t, at.At("authority"), "authority", r.Authority, w.Authority)
		equal(t, at.At("target"), "target", r.Path, w.Target)
		equal(t, at.At("body"), "request body", x.RequestBody(), w.Body)
		checkHeaders(t, "request header", &r.Headers, w.Headers)
		checkHeaders(t, "request trailer", &r.Trailers, w.Trailers)
	}
	if w := e.Response; w != nil {
		r, at := &x.data.Response, at.At("response")
		equal(t, at.At("status"), "status", r.Status, w.Status)
		equal(t, at.At("body"), "response body", x.ResponseBody(), w.Body)
		checkHeaders(t, "response header", &r.Headers, w.Headers)
		checkHeaders(t, "response trailer", &r.Trailers, w.Trailers)
	}
	if e.Principal.given {
		if got, want := x.data.Principal, e.Principal.want.principal(); !sameJSON(got, want) {
			t.Errorf("%s: the principal is %s, want %s", place(at.At("principal")), asJSON(got), asJSON(want))
		}
	}
	checkEntries(t, "metadata", &x.data.Metadata, e.Metadata)
	checkEntries(t, "dynamic metadata", &x.data.Dynamic, e.Dynamic)
}

func (w *wantedImmediate) check(t testing.TB, at strictyaml.Node, x *Exchange) {
	t.Helper()
	ir := x.Immediate
	if ir == nil {
		t.Errorf("%s: the message passed, want an answer with status %d", place(at), w.Status)
		return
	}
	equal(t, at.At("status"), "status of the answer", ir.Status, &w.Status)
	equal(t, at.At("reason"), "reason", ir.Reason, w.Reason)
	equal(t, at.At("body"), "body of the answer", string(ir.Body), w.Body)
	if w.GRPCStatus != nil && ir.GRPCStatus == nil {
		t.Errorf("%s: the answer has no gRPC status, want %d", place(at.At("grpcStatus")), *w.GRPCStatus)
	} else if w.GRPCStatus != nil {
		equal(t, at.At("grpcStatus"), "gRPC status", *ir.GRPCStatus, w.GRPCStatus)
	}
	var h exchange.Headers
	h.Reset(fields(ir.Headers))
	checkHeaders(t, "header of the answer", &h, w.Headers)
}

func equal[T comparable](t testing.TB, at strictyaml.Node, what string, got T, want *T) {
	t.Helper()
	if want != nil && got != *want {
		t.Errorf("%s: the %s is %#v, want %#v", place(at), what, got, *want)
	}
}

func checkHeaders(t testing.TB, what string, h *exchange.Headers, want map[string]wantedValues) {
	t.Helper()
	for _, name := range sortedKeys(want) {
		w := want[name]
		got := slices.Collect(h.Values(name))
		switch {
		case w.absent && len(got) > 0:
			t.Errorf("%s: the %s is %q, want none", place(w.node), what, got)
		case !w.absent && !slices.Equal(got, w.values):
			t.Errorf("%s: the %s is %q, want %q", place(w.node), what, got, w.values)
		}
	}
}

func checkEntries(t testing.TB, what string, m *exchange.Metadata, want map[string]strictyaml.Node) {
	t.Helper()
	for _, key := range sortedKeys(want) {
		got, ok := m.Get(key)
		if want[key].Kind() == strictyaml.Null && !ok {
			continue
		}
		if wanted := want[key].JSON(); !ok || !sameJSON(got, wanted) {
			t.Errorf("%s: the %s is %s, want %s", place(want[key]), what, asJSON(got), wanted)
		}
	}
}

// located puts the place of a case in front of what fails in it.
type located struct {
	testing.TB
	at strictyaml.Node
}

func (l located) Errorf(format string, args ...any) {
	l.TB.Helper()
	l.TB.Errorf("%s: %s", place(l.at), fmt.Sprintf(format, args...))
}

func (l located) Fatalf(format string, args ...any) {
	l.TB.Helper()
	l.TB.Fatalf("%s: %s", place(l.at), fmt.Sprintf(format, args...))
}

func (l located) Error(args ...any) {
	l.TB.Helper()
	l.Errorf("%s", fmt.Sprint(args...))
}

func (l located) Fatal(args ...any) {
	l.TB.Helper()
	l.Fatalf("%s", fmt.Sprint(args...))
}

// place is a node's line and path, for messages.
func place(n strictyaml.Node) string {
	line, column := n.Position()
	return fmt.Sprintf("%s:%d:%d: %s", n.File(), line, column, n.Path())
}

// sameJSON compares what two values are in JSON: a policy may tell an int, and a file
// holds a float64.
func sameJSON(a, b any) bool {
	var x, y any
	return json.Unmarshal([]byte(asJSON(a)), &x) == nil && json.Unmarshal([]byte(asJSON(b)), &y) == nil && reflect.DeepEqual(x, y)
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%#v", v)
	}
	return string(b)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
