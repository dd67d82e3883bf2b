package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"policyengine.dev/sdk/policy"
)

// everything implements all phases.
type everything struct{ name string }

func (*everything) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}
func (*everything) OnRequestBody(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}
func (*everything) OnRequestBodyChunk(context.Context, *policy.RequestContext, *policy.Chunk) (policy.ChunkAction, error) {
	return nil, nil
}
func (*everything) OnRequestTrailers(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}
func (*everything) OnResponseHeaders(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	return nil, nil
}
func (*everything) OnResponseBody(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	return nil, nil
}
func (*everything) OnResponseBodyChunk(context.Context, *policy.ResponseContext, *policy.Chunk) (policy.ChunkAction, error) {
	return nil, nil
}
func (*everything) OnResponseTrailers(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	return nil, nil
}

type params struct {
	Name string         `json:"name"`
	Size map[string]int `json:"size"`
}

func newEverything(p params, _ policy.Host) (*everything, error) {
	if p.Name == "bad" {
		return nil, errors.New("a bad name")
	}
	return &everything{p.Name}, nil
}

// That a factory's instances implement a phase is checked when a registry compiles.
var _ = func() bool {
	f := policy.Define(newEverything)
	policy.AssertRequestHeaders(f)
	policy.AssertRequestBody(f)
	policy.AssertRequestBodyChunks(f)
	policy.AssertRequestTrailers(f)
	policy.AssertResponseHeaders(f)
	policy.AssertResponseBody(f)
	policy.AssertResponseBodyChunks(f)
	policy.AssertResponseTrailers(f)
	return true
}()

// headersOnly implements one phase, by value.
type headersOnly struct{}

func (headersOnly) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func TestBuild(t *testing.T) {
	ok := policy.Define(newEverything)
	iface := policy.Define(func(struct{}, policy.Host) (policy.RequestHeadersPolicy, error) { return headersOnly{}, nil })
	null := policy.Define(func(struct{}, policy.Host) (*everything, error) { return nil, nil })
	for _, tt := range []struct {
		name    string
		builder policy.Builder
		params  string
		// want is in the error; empty where there is none.
		want string
	}{
		{"good parameters", ok, `{"name": "x"}`, ""},
		{"no parameters count as none", ok, ``, ""},
		{"an unknown field", ok, `{"nam": "x"}`, `unknown field "nam"`},
		{"a wrong type", ok, `{"name": 1}`, "name"},
		{"a wrong type further in", ok, `{"size": {"a": "b"}}`, "size"},
		{"no JSON", ok, `{`, "decoding parameters"},
		{"two values", ok, `{} {}`, "more than one JSON value"},
		{"something after the value", ok, `{}]`, "more than one JSON value"},
		{"what the constructor refuses", ok, `{"name": "bad"}`, "a bad name"},
		{"a constructor that returns an interface", iface, `{}`, "must return a concrete type"},
		{"a constructor that returns nil", null, `{}`, "returned a nil *policy_test.everything"},
		{"no constructor", policy.Factory[params, *everything]{}, `{}`, "make it with policy.Define"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := tt.builder.Build(json.RawMessage(tt.params), policy.Host{})
			if tt.want == "" {
				if _, ok := v.(*everything); err != nil || !ok {
					t.Errorf("%T, %v", v, err)
				}
				return
			}
			if err == nil || v != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, error %v, want %q in it", v, err, tt.want)
			}
		})
	}
}

func TestPhases(t *testing.T) {
	var all policy.Builder = policy.Define(newEverything)
	if got := all.Phases(); got.Len() != policy.PhaseCount || all.TypeName() != "*policy_test.everything" {
		t.Errorf("%s has the phases %v", all.TypeName(), got)
	}
	if got := policy.PhasesOf(headersOnly{}); got != policy.Phases(policy.RequestHeaders) {
		t.Errorf("phases are %v", got)
	}
	if got := policy.PhasesOf(nil); got != 0 {
		t.Errorf("nil has the phases %v", got)
	}
	for p := range policy.Phase(policy.PhaseCount) {
		if back, ok := policy.ParsePhase(p.String()); !ok || back != p {
			t.Errorf("%v is read as %v", p, back)
		}
		if p.IsResponse() != strings.HasPrefix(p.String(), "response") {
			t.Errorf("%v: IsResponse is %v", p, p.IsResponse())
		}
		only := policy.Phases(p)
		if !only.Has(p) || only.Len() != 1 || only.HasRequest() == p.IsResponse() || only.HasResponse() != p.IsResponse() {
			t.Errorf("the set of %v is %v", p, only)
		}
	}
	if _, ok := policy.ParsePhase("unknown_phase"); ok || policy.Phase(policy.PhaseCount).IsResponse() {
		t.Error("there is a ninth phase")
	}
	set := policy.Phases(policy.ResponseBody).With(policy.RequestHeaders)
	if got := set.String(); got != "request_headers, response_body" {
		t.Errorf("the set prints as %q", got)
	}
	if policy.PhaseSet(0).Has(policy.Phase(200)) || set.Has(policy.Phase(200)) {
		t.Error("a phase that does not exist is in a set")
	}
}

type chooser struct {
	everything
	active policy.PhaseSet
}

func (c *chooser) ActivePhases() policy.PhaseSet { return c.active }

type wishful struct{ headersOnly }

func (wishful) ActivePhases() policy.PhaseSet {
	return policy.Phases(policy.RequestHeaders, policy.ResponseBody)
}

func TestActivePhases(t *testing.T) {
	if got := policy.ActivePhases(&everything{}); got.Len() != policy.PhaseCount {
		t.Errorf("a policy that does not choose is active in %v", got)
	}
	want := policy.Phases(policy.ResponseTrailers)
	if got := policy.ActivePhases(&chooser{active: want}); got != want {
		t.Errorf("a policy that chooses %v is active in %v", want, got)
	}
	if got := policy.ActivePhases(wishful{}); got != policy.Phases(policy.RequestHeaders) {
		t.Errorf("a policy is active in a phase that it does not implement: %v", got)
	}
}
