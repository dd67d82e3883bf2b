// Package translation_test proves against the pinned Envoy that what policies do to
// headers is what arrives: the kernel tells Envoy the net result for each name, and a
// model that knows nothing of Envoy says what that has to come to.
package translation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
	"policyengine.dev/tools/envoy"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the seed of the first sequence")
	sequences = flag.Uint64("sequences", 200, "how many there are, each with the seed after the one before; about 700 fit into the file of chains")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestHeadersArriveAsTheModelSays sends an exchange through each of many random
// chains. Upstream and client have to see what the model leaves of every name, and
// Envoy must have found nothing wrong with what it was told.
func TestHeadersArriveAsTheModelSays(t *testing.T) { arrive(t, false) }

// TestTrailersArriveAsTheModelSays does so with trailers beside the headers.
func TestTrailersArriveAsTheModelSays(t *testing.T) { arrive(t, true) }

func arrive(t *testing.T, trailers bool) {
	binary := envoy.Binary(t) // or the test is skipped, before an engine is built
	var all []sequence
	for seed := *firstSeed; seed < *firstSeed+*sequences; seed++ {
		all = append(all, generate(seed, trailers))
	}
	o := harness.Options{
		Envoy:     binary,
		Engine:    harness.EngineOptions{Path: engines.Binary(t, engines.Cases), Chains: chains(t, all)},
		Bootstrap: harness.Bootstrap{Routes: routes(all), UpstreamHTTP2: trailers},
	}
	if err := o.ShowBodies(harnesstest.Context(t)); err != nil {
		t.Fatal(err)
	}
	stack := harnesstest.Start(t, o)
	for _, s := range all {
		if differences := exchange(t, stack, s); len(differences) > 0 {
			t.Errorf("seed %d (by itself: -seed %d -sequences 1):\n%s\n%s", s.seed, s.seed, strings.Join(differences, "\n"), s)
		}
	}
}

// chains is the engine's file.
func chains(t *testing.T, all []sequence) []byte {
	t.Helper()
	var chains, routes []any
	for _, s := range all {
		chains = append(chains, s.config())
		routes = append(routes, map[string]any{"name": s.route(), "chain": s.route()})
	}
	src, err := json.Marshal(map[string]any{"chains": chains, "routes": routes})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// routes are Envoy's.
func routes(all []sequence) []any {
	var routes []any
	for _, s := range all {
		routes = append(routes, harness.Route(s.route(), "/"+s.route()+"/"))
	}
	return routes
}

// exchange sends the sequence's request and says what is not as it has to be.
func exchange(t *testing.T, stack *harness.Stack, s sequence) (differences []string) {
	t.Helper()
	before, err := stack.Envoy.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stack.Upstream.Forget()
	answer := harness.Answer{Header: canonical(s.response), Trailer: canonical(s.responseTrailers)}
	if s.body {
		answer.Chunks = [][]byte{[]byte("there")}
	}
	stack.Upstream.Answer(answer)
	response, err := send(harnesstest.Context(t), stack.Address(), s)
	if err != nil {
		return []string{err.Error()}
	}
	if response.StatusCode != http.StatusOK {
		return []string{fmt.Sprintf("the status is %d", response.StatusCode)}
	}
	received := stack.Upstream.Received()
	if len(received) != 1 {
		return []string{fmt.Sprintf("the upstream saw %d requests", len(received))}
	}
	for _, d := range s.atUpstream().compare(received[0].Header, requestNames) {
		differences = append(differences, "the upstream's "+d)
	}
	for _, d := range s.atClient().compare(response.Header, responseNames) {
		differences = append(differences, "the client's "+d)
	}
	for _, d := range s.trailersAtUpstream().compare(received[0].Trailer, trailerNames) {
		differences = append(differences, "the upstream's trailer "+d)
	}
	for _, d := range s.trailersAtClient().compare(response.Trailer, trailerNames) {
		differences = append(differences, "the client's trailer "+d)
	}
	after, err := stack.Envoy.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rise := after.Since(before)
	for _, counter := range harness.Guarded() {
		if rise[counter] != 0 {
			differences = append(differences, fmt.Sprintf("Envoy's %s rose by %d", counter, rise[counter]))
		}
	}
	return differences
}

func canonical(m message) http.Header {
	h := http.Header{}
	for name, values := range m {
		h[http.CanonicalHeaderKey(name)] = values
	}
	return h
}

// send sends the request on its own connection.
func send(ctx context.Context, address string, s sequence) (*http.Response, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if s.body {
		method, body = http.MethodPost, bytes.NewReader([]byte("hello"))
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address+"/"+s.route()+"/", body)
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(s.seed, 2))
	for _, name := range requestNames {
		if values, ok := s.request[name]; ok {
			request.Header[someCase(r, name)] = values // as it is on HTTP/1.1's wire
		}
	}
	if s.requestTrailers != nil {
		request.Trailer = canonical(s.requestTrailers)
		for _, name := range trailerNames {
			// net/http's server takes only trailers that were announced.
			if name = http.CanonicalHeaderKey(name); request.Trailer[name] == nil {
				request.Trailer[name] = nil
			}
		}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!s.http2)
	protocols.SetUnencryptedHTTP2(s.http2)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true, DialContext: new(net.Dialer).DialContext}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response, err
}
