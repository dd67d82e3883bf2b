package extproc_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// envoyApplies does to headers what Envoy does with a mutation: removes come first,
// and append says whether a value is added.
func envoyApplies(fields []exchange.Field, m *extprocv3.HeaderMutation) []exchange.Field {
	without := func(name string) {
		kept := fields[:0:0]
		for _, f := range fields {
			if f.Name != name {
				kept = append(kept, f)
			}
		}
		fields = kept
	}
	for _, name := range m.GetRemoveHeaders() {
		without(name)
	}
	for _, h := range m.GetSetHeaders() {
		//lint:ignore SA1019 the reply sends append beside append_action, and Envoy reads the one.
		if !h.GetAppend().GetValue() {
			without(h.GetHeader().GetKey())
		}
		fields = append(fields, exchange.Field{Name: h.GetHeader().GetKey(), Value: string(h.GetHeader().GetRawValue())})
	}
	return fields
}

// byName are the values of each name in their order.
func byName(fields []exchange.Field) map[string][]string {
	m := map[string][]string{}
	for _, f := range fields {
		m[f.Name] = append(m[f.Name], f.Value)
	}
	return m
}

// TestTranslation proves, over many random sequences of edits in both phases of a
// request, that Envoy ends with the headers that the policies have left.
func TestTranslation(t *testing.T) {
	names := []string{"x-a", "x-b", "X-C", "x-d", "x-e"}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		var log []string
		var final []exchange.Field
		edits := func(_ context.Context, x *exchange.Exchange) *policy.ImmediateResponse {
			h := &x.Request.Headers
			for range r.IntN(8) {
				name, value := names[r.IntN(len(names))], fmt.Sprint(r.IntN(100))
				op := []string{"set", "append", "remove", "add-if-absent", "overwrite-if-exists"}[r.IntN(5)]
				log = append(log, op+" "+name+" "+value)
				switch op {
				case "set":
					h.Set(name, value)
				case "append":
					h.Append(name, value)
				case "remove":
					h.Remove(name)
				case "add-if-absent":
					h.AddIfAbsent(name, value)
				default:
					h.OverwriteIfExists(name, value)
				}
			}
			final = final[:0]
			for name, value := range h.All() {
				final = append(final, exchange.Field{Name: name, Value: value})
			}
			return nil
		}
		var fields []exchange.Field
		var pairs []string
		for range r.IntN(6) {
			name, value := strings.ToLower(names[r.IntN(len(names))]), fmt.Sprint("old", r.IntN(10))
			fields = append(fields, exchange.Field{Name: name, Value: value})
			pairs = append(pairs, name, value)
		}
		c := &chain{steps: map[policy.Phase]step{policy.RequestHeaders: edits, policy.RequestBody: edits}}
		s := &source{chains: map[string]*chain{"r": c}}
		first := requestHeaders(false, pairs...)
		first.Attributes = attributesFor("r")
		first.ProtocolConfig = &extprocv3.ProtocolConfiguration{RequestBodyMode: 2}
		stamp := fuzzSettings[2]
		d := newDirect(stamp, marshal(t, first), marshal(t, requestBody("hello", true)))
		if err := handlerOf(newService(s, options{}))(d); err != nil {
			t.Fatal(err)
		}
		if len(d.replies) != 2 {
			t.Fatalf("seed %d: the replies are %v", seed, d.replies)
		}
		fields = envoyApplies(fields, d.replies[0].GetRequestHeaders().GetResponse().GetHeaderMutation())
		fields = envoyApplies(fields, d.replies[1].GetRequestBody().GetResponse().GetHeaderMutation())
		if got, want := fmt.Sprint(byName(fields)), fmt.Sprint(byName(final)); got != want {
			t.Errorf("seed %d: %s\nto %v\nleft Envoy with %s, want %s", seed, strings.Join(log, ", "), pairs, got, want)
		}
	}
}
