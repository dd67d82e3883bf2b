package policytest

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/strictyaml"
)

// Cases runs the cases that file describes, each as a subtest:
//
//	params: {header: x-api-key, keys: [...]}    # for the cases that give none
//	cases:
//	- name: a good key passes, and goes no further
//	  request:
//	    target: /v1/charge?a=1
//	    headers: {x-api-key: secret, accept: [text/html, text/plain]}
//	  expect:
//	    request: {headers: {x-api-key: null, x-api-key-id: billing}}
//	    principal: {subject: billing}
//	- name: no key
//	  expect:
//	    immediate: {status: 401, reason: API_KEY_MISSING}
//
// A case has
//
//   - params: as in a chain. Defaults of policy.yaml are filled in.
//   - request: method, scheme, authority, target, headers, body, chunks (a list of
//     pieces), trailers, route, attributes, principal, metadata: see [Request].
//   - response: status, headers, body, chunks, trailers. Where it is given, the
//     response phases run too: see [Response].
//   - now: the time by the policy's clock (RFC 3339).
//   - files, env: contents of files, for references to secrets and for files that the
//     policy watches, by path; and of environment variables, by name.
//   - expect, which has to be given and says what becomes of it:
//     refused (a part of the error with which the parameters are refused),
//     error (a part of the error that the policy gives),
//     immediate (status, reason, headers, body, grpcStatus),
//     skipped (the reason for which the rest of the chain is skipped, or "" for no),
//     request (method, authority, target, headers, body, trailers: what the
//     upstream sees), response (status, headers, body, trailers: what the client
//     sees), principal (null for none), metadata, dynamic.
//
// What expect does not name is not compared, but a message that is answered, or a
// policy that errs, is never passed over. Header values are a string, a list of
// strings, or null for a header that is not there. A mistake in the file fails the
// test with its line, and so does what is not as a case expects.
func Cases(t *testing.T, b policy.Builder, file string, opts ...Option) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	runCases(t, b, file, src, opts, func(name string, run func(testing.TB)) {
		t.Run(name, func(t *testing.T) { run(t) })
	})
}

// runCases runs the cases in src, each by sub.
func runCases(t testing.TB, b policy.Builder, file string, src []byte, opts []Option, sub func(string, func(testing.TB))) {
	t.Helper()
	all, err := parseCases(file, src)
	if err != nil {
		t.Fatal(err)
	}
	// What is wrong with policy.yaml is no case's fault, and reported once.
	if _, err := loadDefinition(newConfig(opts).definition); err != nil {
		t.Fatal(err)
	}
	for _, c := range all.Cases {
		sub(c.Name, func(t testing.TB) { c.run(t, b, all.Params, opts) })
	}
}

type caseFile struct {
	Params strictyaml.Node `yaml:"params"`
	Cases  []testCase      `yaml:"cases,required"`
}

type testCase struct {
	Name     string            `yaml:"name,required"`
	Params   strictyaml.Node   `yaml:"params"`
	Request  caseRequest       `yaml:"request"`
	Response *caseResponse     `yaml:"response"`
	Now      *time.Time        `yaml:"now"`
	Files    map[string]string `yaml:"files"`
	Env      map[string]string `yaml:"env"`
	Expect   expectation       `yaml:"expect,required"`

	at strictyaml.Node
}

type caseRequest struct {
	Method     string                `yaml:"method"`
	Scheme     string                `yaml:"scheme"`
	Authority  string                `yaml:"authority"`
	Target     string                `yaml:"target"`
	Headers    headerList            `yaml:"headers"`
	Body       string                `yaml:"body"`
	Chunks     []string              `yaml:"chunks"`
	Trailers   headerList            `yaml:"trailers"`
	Route      string                `yaml:"route"`
	Attributes map[string]plainValue `yaml:"attributes"`
	Principal  *casePrincipal        `yaml:"principal"`
	Metadata   map[string]plainValue `yaml:"metadata"`
}

type caseResponse struct {
	Status   int        `yaml:"status"`
	Headers  headerList `yaml:"headers"`
	Body     string     `yaml:"body"`
	Chunks   []string   `yaml:"chunks"`
	Trailers headerList `yaml:"trailers"`
}

type casePrincipal struct {
	Subject string                `yaml:"subject"`
	Issuer  string                `yaml:"issuer"`
	Scopes  []string              `yaml:"scopes"`
	Claims  map[string]plainValue `yaml:"claims"`
}

func parseCases(file string, src []byte) (*caseFile, error) {
	root, err := strictyaml.Parse(file, src)
	if err != nil {
		return nil, err
	}
	var all caseFile
	var found strictyaml.Diagnostics
	found.AddError(root, root.Decode(&all))
	if len(all.Cases) == 0 && len(found) == 0 {
		found.Add(root.Problem("no cases", "list at least one"))
	}
	names := map[string]bool{}
	for i, c := range all.Cases {
		if names[c.Name] {
			found.Add(root.At("cases", i, "name").Problem("another case has this name", "name it by what it proves"))
		}
		names[c.Name] = true
		all.Cases[i].at = root.At("cases", i)
		if e := &c.Expect; e.ends() > 1 {
			found.Add(root.At("cases", i, "expect").Problem("a case ends in one way", "give one of refused, error and immediate"))
		}
		if e := &c.Expect; e.Response != nil && c.Response == nil {
			found.Add(root.At("cases", i, "expect", "response").Problem("there is no response", "give the case a response, if only {}"))
		}
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	return &all, nil
}

// headerList is written as a mapping from names to a value or a list of values.
type headerList []policy.Header

// UnmarshalNode implements strictyaml.Unmarshaler.
func (h *headerList) UnmarshalNode(n strictyaml.Node) error {
	var found strictyaml.Diagnostics
	if n.Kind() != strictyaml.Mapping {
		found.Add(n.Problem("expected a mapping of header names", "write {NAME: VALUE}"))
	}
	for name, values := range n.Fields {
		var v wantedValues
		if err := v.UnmarshalNode(values); err != nil || v.absent {
			found.Add(values.Problem("expected a header's value", "write a string or a list of strings"))
		}
		for _, value := range v.values {
			*h = append(*h, policy.Header{Name: name, Value: value})
		}
	}
	return found.Err()
}

// wantedValues are the values of one header: a string, a list, or null for none.
type wantedValues struct {
	node   strictyaml.Node
	absent bool
	values []string
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (w *wantedValues) UnmarshalNode(n strictyaml.Node) error {
	w.node = n
	switch n.Kind() {
	case strictyaml.Null:
		w.absent = true
		return nil
	case strictyaml.String:
		w.values = []string{n.Text()}
		return nil
	}
	return n.Decode(&w.values)
}

// plainValue is any value, in encoding/json's types.
type plainValue struct{ value any }

// UnmarshalNode implements strictyaml.Unmarshaler.
func (p *plainValue) UnmarshalNode(n strictyaml.Node) error {
	return json.Unmarshal(n.JSON(), &p.value)
}

func plain(m map[string]plainValue) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v.value
	}
	return out
}

func (p *casePrincipal) principal() *policy.Principal {
	if p == nil {
		return nil
	}
	return &policy.Principal{Subject: p.Subject, Issuer: p.Issuer, Scopes: p.Scopes, Claims: plain(p.Claims)}
}

func (r *caseRequest) request() Request {
	return Request{
		Method: r.Method, Scheme: r.Scheme, Authority: r.Authority, Target: r.Target, Headers: r.Headers,
		Body: r.Body, Chunks: r.Chunks, Trailers: r.Trailers, Route: r.Route, Attributes: plain(r.Attributes),
		Principal: r.Principal.principal(), Metadata: plain(r.Metadata),
	}
}

func (r *caseResponse) response() Response {
	return Response{Status: r.Status, Headers: r.Headers, Body: r.Body, Chunks: r.Chunks, Trailers: r.Trailers}
}

func (c *testCase) run(t testing.TB, b policy.Builder, params strictyaml.Node, opts []Option) {
	host := NewHost()
	if c.Now != nil {
		host.Clock = NewClock(*c.Now)
	}
	for path, value := range c.Files {
		host.SetFile(path, value)
	}
	for name, value := range c.Env {
		host.Secrets.SetEnv(name, value)
	}
	if c.Params.Kind() != strictyaml.Missing {
		params = c.Params
	}
	written := string(params.JSON())
	if written == "" {
		written = "{}"
	}
	opts = append([]Option{WithHost(host), func(c *config) { c.params = params }}, opts...)
	at := c.at.At("expect")
	if want := c.Expect.Refused; want != nil {
		checkError(located{t, at.At("refused")}, "the error", NewError(located{t, at.At("refused")}, b, written, opts...), *want)
		return
	}
	p := New(located{t, c.at}, b, written, opts...)
	x := p.begin(c.Request.request())
	err := x.runRequest(t.Context())
	if err == nil && c.Response != nil && x.Immediate == nil {
		err = x.runResponse(t.Context(), c.Response.response())
	}
	if want := c.Expect.Error; want != nil {
		checkError(located{t, at.At("error")}, "the policy's error", err, *want)
		return
	}
	if err != nil {
		t.Fatalf("%s: the policy errs: %v", place(c.at), err)
	}
	c.Expect.check(t, at, x)
}

func checkError(t testing.TB, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s is %s, want %q in it", what, fmt.Sprint(err), want)
	}
}
