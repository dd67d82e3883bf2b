package admin_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// filter holds back pieces of both bodies, and wants them plain.
type filter struct{}

func newFilter(struct{}, policy.Host) (*filter, error) { return &filter{}, nil }

func (*filter) HoldsChunks() bool { return true }

func (*filter) ReadsAttributes() (request, response []string) { return []string{"request.size"}, nil }

func (*filter) OwnedRequestHeaders() []string { return []string{"X-User", "x-roles"} }

func (*filter) OnRequestBodyChunk(context.Context, *policy.RequestContext, *policy.Chunk) (policy.ChunkAction, error) {
	return nil, nil
}

func (*filter) OnResponseBodyChunk(context.Context, *policy.ResponseContext, *policy.Chunk) (policy.ChunkAction, error) {
	return nil, nil
}

// stamp acts on response headers alone.
type stamp struct{}

func newStamp(struct{}, policy.Host) (*stamp, error) { return &stamp{}, nil }

func (*stamp) OnResponseHeaders(context.Context, *policy.ResponseContext) (policy.ResponseAction, error) {
	return nil, nil
}

const (
	filterDefinition = `{"apiVersion":"policyengine/v1","name":"filter","version":"v1.0.0","description":"Reads bodies.",
"phases":["request_body_chunks","response_body_chunks"],"body":"decoded"}`
	stampDefinition = `{"apiVersion":"policyengine/v1","name":"stamp","version":"v1.0.0","description":"Stamps responses.","phases":["response_headers"],"attributes":{"request":["destination.address"],"response":["upstream.cluster"]}}`
)

// TestDumpTellsWhatChainsNeed proves that what a proxy has to be set up for can be
// read from the dump.
func TestDumpTellsWhatChainsNeed(t *testing.T) {
	registry, err := worker.NewRegistry(
		worker.Entry{Definition: filterDefinition, Factory: policy.Define(newFilter)},
		worker.Entry{Definition: stampDefinition, Factory: policy.Define(newStamp)})
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(registry, worker.Options{Host: policy.Host{Logger: slog.New(slog.DiscardHandler), Clock: host.Clock{}}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	_, err = w.Update(t.Context(), worker.Spec{Version: "one", Chains: []worker.ChainSpec{
		{
			Name: "all", BodyLimit: 4096, Reroute: true, RerouteHeaders: []string{"X-Tenant"},
			Policies: []worker.PolicySpec{
				{Name: "filter", Version: "v1", When: `attributes["source.port"] == 1.0 || attributes["connection.mtls"] == true`},
				{Name: "stamp", Version: "v1", When: `attributes["upstream.address"] == "a" && attributes["source.port"] == 1.0`},
				{Name: "stamp", ID: "again", Version: "v1", When: `attributes["upstream.address"] == "b"`},
			},
			OnReject: []worker.PolicySpec{{Name: "stamp", ID: "shape", Version: "v1", When: `attributes["request.id"] == ""`}},
		},
		{Name: "off", Policies: []worker.PolicySpec{{Name: "filter", Version: "v1", Disabled: true}}},
		{Name: "none", Policies: []worker.PolicySpec{}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	handler := admin.NewHandler(admin.Options{Worker: w, Metrics: prometheus.NewRegistry()})
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/config_dump", nil))
	var dump admin.Dump
	if err := json.Unmarshal(recorder.Body.Bytes(), &dump); err != nil {
		t.Fatal(err)
	}
	want := []admin.ChainDump{
		{
			Name: "all", Phases: []string{"request_headers", "request_body_chunks", "response_headers", "response_body_chunks"},
			HoldsRequestChunks: true, HoldsResponseChunks: true, DecodesRequestBody: true, DecodesResponseBody: true,
			BodyLimit: 4096, Reroute: true, RerouteHeaders: []string{"x-tenant"},
			RequestAttributes:  []string{"connection.mtls", "destination.address", "request.id", "request.size", "source.port"},
			ResponseAttributes: []string{"source.port", "upstream.address", "upstream.cluster"},
			OwnedHeaders:       []string{"x-roles", "x-user"},
		},
		{Name: "off", Phases: []string{"request_headers"}, OwnedHeaders: []string{"x-roles", "x-user"}, Disabled: []string{"filter"}},
		{Name: "none", Phases: []string{}},
	}
	if diff := cmp.Diff(want, dump.Config.Chains, cmpopts.IgnoreFields(admin.ChainDump{}, "Steps")); diff != "" {
		t.Errorf("chains (-want +got):\n%s", diff)
	}
}
