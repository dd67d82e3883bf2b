package explain_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/runtime/explain"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// reader reads whole request bodies and response headers.
type reader struct{}

type readerParams struct {
	Key policy.Secret `json:"key"`
}

func newReader(readerParams, policy.Host) (*reader, error) { return &reader{}, nil }

func (*reader) OnRequestBody(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func (*reader) OnResponseHeaders(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	return nil, nil
}

// first acts on request headers, and is first in them.
type first struct{}

func newFirst(struct{}, policy.Host) (*first, error) { return &first{}, nil }

func (*first) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func (*first) OnResponseHeaders(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	return nil, nil
}

const (
	readerDefinition = `{"apiVersion":"policyengine/v1","name":"reader","version":"v1.0.0","description":"Reads bodies.","phases":["request_body","response_headers"],"body":"raw",
"parameters":{"type":"object","additionalProperties":false,"properties":{"key":{"type":"string","x-secret":true}}}}`
	firstDefinition = `{"apiVersion":"policyengine/v1","name":"first","version":"v1.0.0","description":"Acts on headers.","phases":["request_headers","response_headers"]}`
)

// snapshot compiles a configuration of three chains and of entries of routes, each written
// as NAME=CHAIN, or NAME= for one that denies.
func snapshot(t *testing.T, unknown worker.UnknownRoute, entries ...string) *worker.Snapshot {
	t.Helper()
	registry, err := worker.NewRegistry(
		worker.Entry{Definition: readerDefinition, Factory: policy.Define(newReader)},
		worker.Entry{Definition: firstDefinition, Factory: policy.Define(newFirst)})
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(registry, worker.Options{Host: policy.Host{Logger: slog.New(slog.DiscardHandler), Clock: host.Clock{}}})
	spec := worker.Spec{Version: "one", OnUnknownRoute: unknown, Chains: []worker.ChainSpec{
		{Name: "bodies", BodyLimit: 4096, Policies: []worker.PolicySpec{
			{Name: "first", Version: "v1", OnError: worker.ContinueOnError, Timeout: time.Minute},
			{Name: "reader", Version: "v1", Mode: worker.Shadow, When: `request.method == "POST"`, Params: json.RawMessage(`{"key":"open sesame"}`)},
			{Name: "first", ID: "off", Version: "v1", Disabled: true},
		}, OnReject: []worker.PolicySpec{{Name: "first", ID: "shape", Version: "v1"}}},
		{Name: "headers", Policies: []worker.PolicySpec{{Name: "first", Version: "v1", Timeout: 20 * time.Millisecond}}},
		{Name: "nothing", Policies: []worker.PolicySpec{}},
	}}
	for _, entry := range entries {
		name, chain, _ := strings.Cut(entry, "=")
		spec.Routes = append(spec.Routes, worker.RouteSpec{Name: name, Chain: chain, Deny: chain == ""})
	}
	s, _, err := w.Preview(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Release()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

var engine = explain.Engine{BodyLimit: 10 << 20, Filter: negotiate.Settings{MessageTimeout: time.Second}}

// TestEntry proves which entry serves a route, why, and why the others do not.
func TestEntry(t *testing.T) {
	for _, tt := range []struct {
		name, route string
		unknown     worker.UnknownRoute
		entries     []string
		want        explain.Explanation
	}{
		{"no entry, which denies", "a", worker.DenyUnknownRoute, []string{"b=nothing"},
			explain.Explanation{Kind: "none", Why: "no entry of routes fits the name, and onUnknownRoute is deny: requests are answered ROUTE_UNKNOWN"}},
		{"no entry, which lets pass", "a", worker.ContinueUnknownRoute, []string{"b=nothing"},
			explain.Explanation{Kind: "none", Why: "no entry of routes fits the name, and onUnknownRoute is continue: requests pass without any policy"}},
		{"an exact name before patterns", "a/b", worker.DenyUnknownRoute, []string{"a/**=headers", "a/b=nothing", "a/*=bodies"},
			explain.Explanation{Kind: "exact", Entry: "a/b", Why: "an entry has exactly this name", Others: []explain.Other{
				{Entry: "a/*", Chain: "bodies", Why: "an exact name goes before a pattern"},
				{Entry: "a/**", Chain: "headers", Why: "an exact name goes before a pattern"},
			}}},
		{"the only pattern", "a/b", worker.DenyUnknownRoute, []string{"a/*=nothing", "b/*=bodies"},
			explain.Explanation{Kind: "pattern", Entry: "a/*", Why: "it is the only pattern that fits, and no entry has exactly this name"}},
		{"the most specific pattern", "a/b/c", worker.DenyUnknownRoute, []string{"**=bodies", "a/**=bodies", "a/b/c/**=nothing", "a/*/c/**=bodies"},
			explain.Explanation{Kind: "pattern", Entry: "a/b/c/**", Why: "it is the most specific pattern that fits, and no entry has exactly this name", Others: []explain.Other{
				{Entry: "a/*/c/**", Chain: "bodies", Why: "less specific: its segment 2 is *, and a/b/c/** has b there"},
				{Entry: "a/**", Chain: "bodies", Why: "less specific: its segment 2 is **, and a/b/c/** has b there"},
				{Entry: "**", Chain: "bodies", Why: "less specific: its segment 1 is **, and a/b/c/** has a there"},
			}}},
		{"a pattern that ends and one that goes on", "a", worker.DenyUnknownRoute, []string{"*=nothing", "*/**=bodies"},
			explain.Explanation{Kind: "pattern", Entry: "*", Why: "it is the most specific pattern that fits, and no entry has exactly this name", Others: []explain.Other{
				{Entry: "*/**", Chain: "bodies", Why: "less specific: */** goes on with **, and * ends"},
			}}},
		{"an entry that denies", "a", worker.ContinueUnknownRoute, []string{"a=", "*=nothing"},
			explain.Explanation{Kind: "exact", Entry: "a", Why: "an entry has exactly this name; it denies every request with ROUTE_UNKNOWN, because the control plane has sent no valid chain for it", Others: []explain.Other{
				{Entry: "*", Chain: "nothing", Why: "an exact name goes before a pattern"},
			}}},
		{"an entry that denies behind another", "a", worker.DenyUnknownRoute, []string{"a=nothing", "*="},
			explain.Explanation{Kind: "exact", Entry: "a", Why: "an entry has exactly this name", Others: []explain.Other{
				{Entry: "*", Why: "an exact name goes before a pattern"},
			}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := snapshot(t, tt.unknown, tt.entries...)
			got := explain.Route(s, tt.route, engine)
			want := tt.want
			want.Route, want.Version = tt.route, "one"
			short := explain.Explanation{Route: got.Route, Version: got.Version, Kind: got.Kind, Entry: got.Entry, Why: got.Why, Others: got.Others}
			if diff := cmp.Diff(want, short); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			serves, ok := s.Chain(tt.route)
			if ok != (got.Chain != nil) || ok && serves.Name() != got.Chain.Name {
				t.Errorf("a request gets the chain %v, and the explanation says %v", serves, got.Chain)
			}
		})
	}
}

// TestChain proves what is said of phases, of Envoy and of limits.
func TestChain(t *testing.T) {
	s := snapshot(t, worker.DenyUnknownRoute, "a=bodies", "b=headers", "c=nothing")
	prefers := engine
	prefers.PreferModeOverride = true
	for _, tt := range []struct {
		name, route string
		engine      explain.Engine
		phases      []explain.Phase
		onReject    []explain.Phase
		envoy       explain.Envoy
		limits      explain.Limits
	}{
		{"bodies", "a", engine,
			[]explain.Phase{{"request_headers", []string{"first"}}, {"request_body", []string{"reader"}}, {"response_headers", []string{"reader", "first"}}},
			[]explain.Phase{{"response_headers", []string{"shape"}}},
			explain.Envoy{"SEND", "BUFFERED", "SEND", "SEND", "NONE", "SKIP",
				"only to ask for less than the route's processing_mode shows. Conditions may leave out steps of later phases; the engine then asks for less"},
			explain.Limits{BodyLimit: 4096, BodyLimitFrom: "bodyLimit of the chain", Budget: "900ms", MessageTimeout: "1s", Steps: []explain.StepLimit{
				{"first", "900ms", true}, {"reader", "500ms", true}, {"shape", "500ms", false},
			}}},
		{"headers alone", "b", prefers,
			[]explain.Phase{{"request_headers", []string{"first"}}, {"response_headers", []string{"first"}}}, nil,
			explain.Envoy{"SEND", "NONE", "SKIP", "SEND", "NONE", "SKIP", "only to ask for less than the route's processing_mode shows"},
			explain.Limits{BodyLimit: 10 << 20, BodyLimitFrom: "limits.body of engine.yaml", Budget: "900ms", MessageTimeout: "1s", Steps: []explain.StepLimit{{"first", "20ms", false}}}},
		{"no policies", "c", engine, nil, nil,
			explain.Envoy{"SEND", "NONE", "SKIP", "SKIP", "NONE", "SKIP", "only to ask for less than the route's processing_mode shows"},
			explain.Limits{BodyLimit: 10 << 20, BodyLimitFrom: "limits.body of engine.yaml", Budget: "900ms", MessageTimeout: "1s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := explain.Route(s, tt.route, tt.engine)
			for _, diff := range []string{
				cmp.Diff(tt.phases, got.Phases), cmp.Diff(tt.onReject, got.OnReject),
				cmp.Diff(&tt.envoy, got.Envoy), cmp.Diff(&tt.limits, got.Limits),
			} {
				if diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
	if got := explain.Route(s, "a", prefers).Envoy.ModeOverride; !strings.HasPrefix(got, "to ask for this, if the filter allows mode overrides") {
		t.Errorf("an engine that prefers mode overrides sends them %s", got)
	}
}

// TestText proves that the text has what the JSON has, and that neither has a secret.
func TestText(t *testing.T) {
	s := snapshot(t, worker.DenyUnknownRoute, "a=bodies", "*=nothing")
	e := explain.Route(s, "a", engine)
	var text strings.Builder
	if err := e.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"route a: chain bodies\n", "  entry a: an entry has exactly this name\n", "  also fits: * (chain nothing): an exact name goes before a pattern\n",
		"  request_body: reader\n", "  response_headers: reader, first\n", "  response_headers: shape\n",
		"  first (first@v1.0.0): mode enforce, onError continue, timeout 900ms and at most half of what is left\n",
		"    when: request.method == \"POST\"\n", "    params: {\"key\":\"[redacted]\"}\n", "  off: enabled is false, it does not run\n",
		"  of the request: headers SEND, body BUFFERED, trailers SEND\n", "  a whole body: 4096 bytes (bodyLimit of the chain)\n", "900ms, which is 90% of the filter's message_timeout of 1s",
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("the text does not say %q", line)
		}
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if all := text.String() + string(b); strings.Contains(all, "sesame") {
		t.Error("the explanation has a secret")
	}
	if t.Failed() {
		t.Log(text.String())
	}
}
