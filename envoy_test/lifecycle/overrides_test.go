package lifecycle_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/tools/envoy"
)

// bodies are chains that read request bodies, a route for each, and one that does not.
const bodies = `{chains: [
  {name: whole, policies: [{name: probe, version: v1.0.0, params: {requestBody: {tell: {x-length: body_length}}}}]},
  {name: late, policies: [{name: probe, version: v1.0.0, params: {requestBody: {tell: {x-length: body_length}}, responseHeaders: {headers: {set: [{name: x-seen, value: "1"}]}}}}]},
  {name: pieces, policies: [{name: probe, version: v1.0.0, params: {requestChunks: {upper: true}}}]},
  {name: held, policies: [{name: probe, version: v1.0.0, params: {requestChunks: {hold: 4, upper: true}}}]},
  {name: headers, policies: [{name: probe, version: v1.0.0, params: {requestHeaders: {headers: {set: [{name: x-set, value: "1"}]}}}}]}],
 routes: [{name: whole, chain: whole}, {name: late, chain: late}, {name: pieces, chain: pieces}, {name: held, chain: held}, {name: headers, chain: headers}, {name: other, chain: whole}]}`

// readers are the routes whose chains read request bodies.
var readers = []string{"whole", "late", "pieces", "held"}

const trusted, newStamp = "v1 timeout=60s mode_override", "v1 timeout=50s mode_override"

// stamped is the metadata of a filter that carries the stamp.
func stamped(stamp string) []any {
	return []any{map[string]any{"key": negotiate.StampKey, "value": stamp}}
}

// overriding is an Envoy with a route for each of the chains of bodies, whose filter says
// that it allows mode overrides and does so or not. The route "other" has a stamp of its
// own.
func overriding(upstream, engine string, allows bool) harness.Bootstrap {
	b := harness.Bootstrap{
		Upstream: upstream, Engine: engine,
		ExtProc: map[string]any{
			"grpc_service":        map[string]any{"initial_metadata": stamped(trusted)},
			"message_timeout":     "60s",
			"allow_mode_override": allows,
			"response_attributes": []any{"response.code_details"},
		},
		Connection: map[string]any{
			"http_protocol_options": map[string]any{"enable_trailers": true},
			"upgrade_configs":       []any{map[string]any{"upgrade_type": "websocket"}},
		},
	}
	for _, name := range append(readers, "headers", "other") {
		route := harness.Route(name, "/"+name)
		if name == "other" {
			route["typed_per_filter_config"] = map[string]any{"envoy.filters.http.ext_proc": map[string]any{
				"@type":     "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute",
				"overrides": map[string]any{"grpc_initial_metadata": stamped(newStamp)},
			}}
		}
		b.Routes = append(b.Routes, route)
	}
	return b
}

// overridden is an engine that prefers overrides, and what is around it.
type overridden struct {
	t        *testing.T
	dir      string
	upstream *harness.Upstream
	// address is where requests go: to the upstream, unless a test has another.
	address string
	engine  *harness.Engine
	envoy   *harness.Envoy
	envoys  int
}

func newOverridden(t *testing.T) *overridden {
	t.Helper()
	envoy.Binary(t)
	o := &overridden{t: t, dir: harnesstest.Dir(t)}
	var err error
	if o.upstream, err = harness.StartUpstream(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.upstream.Close)
	o.address = o.upstream.Address()
	o.engine, err = harness.StartEngine(harnesstest.Context(t), harness.EngineOptions{
		Path: engines.Binary(t, engines.Cases), Dir: o.dir, Chains: []byte(bodies),
		Config: map[string]any{"filter": map[string]any{"preferModeOverride": true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.engine.Stop()
		if t.Failed() {
			t.Logf("the engine's log:\n%s", o.engine.Log())
		}
	})
	return o
}

// front starts an Envoy, instead of the one before.
func (o *overridden) front(allows bool) {
	o.t.Helper()
	if o.envoy != nil {
		o.envoy.Stop()
	}
	config, err := overriding(o.address, o.engine.Address(), allows).JSON()
	if err != nil {
		o.t.Fatal(err)
	}
	o.envoys++
	dir := filepath.Join(o.dir, fmt.Sprint(o.envoys))
	if err := os.Mkdir(dir, 0o700); err != nil {
		o.t.Fatal(err)
	}
	o.envoy, err = harness.StartEnvoy(harnesstest.Context(o.t), harness.EnvoyOptions{
		Path: envoy.Binary(o.t), Config: config, Dir: dir,
	})
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(o.envoy.Stop)
}

// post sends a request with a body and returns the reason of an answer of the engine's,
// or "" where the upstream has answered.
func (o *overridden) post(route string) string {
	o.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Post("http://"+o.envoy.Listener(harness.MainListener)+"/"+route, "text/plain", strings.NewReader("hello"))
	if err != nil {
		o.t.Error(err)
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		o.t.Error(err)
	}
	if response.StatusCode == http.StatusOK {
		return ""
	}
	var problem struct{ Reason string }
	_ = json.Unmarshal(body, &problem)
	return problem.Reason
}

// found are the stamps of the filters that /config_dump tells of.
func (o *overridden) found() (stamps []string) {
	o.t.Helper()
	page, err := o.engine.Admin(o.t.Context(), "/config_dump")
	if err != nil {
		o.t.Fatal(err)
	}
	var dump struct {
		Filters []struct{ Stamp, Connection, Route, Problem, Remedy string }
	}
	if err := json.Unmarshal(page, &dump); err != nil {
		o.t.Fatal(err)
	}
	for _, f := range dump.Filters {
		if f.Connection == "" || f.Route == "" || f.Problem == "" || f.Remedy == "" {
			o.t.Errorf("incomplete: %+v", f)
		}
		stamps = append(stamps, f.Stamp)
	}
	return stamps
}

func (o *overridden) contradictions() float64 {
	o.t.Helper()
	n, err := o.engine.Metric(o.t.Context(), "filter_contradictions_total")
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}

// TestAnIgnoredOverrideIsNotReliedOnAgain shows what becomes of a stamp that is no longer
// true, since allow_mode_override was switched off in Envoy. The requests in flight reach
// the upstream, and their responses are refused. Further ones are refused before. A new
// stamp is tried again, and so is a new connection.
func TestAnIgnoredOverrideIsNotReliedOnAgain(t *testing.T) {
	t.Parallel()
	for _, route := range readers {
		t.Run(route, func(t *testing.T) {
			t.Parallel()
			o := newOverridden(t)
			var reached atomic.Int64
			answer := make(chan struct{})
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				reached.Add(1)
				<-answer
			}))
			t.Cleanup(upstream.Close)
			o.address = upstream.Listener.Addr().String()
			o.front(false)

			// All of these are on their way before the first response comes.
			const together = 5
			var all sync.WaitGroup
			for range together {
				all.Go(func() {
					if got := o.post(route); got != "REQUEST_PHASE_SKIPPED" {
						t.Errorf("a request in flight was answered %q", got)
					}
				})
			}
			harnesstest.Eventually(t, func() error {
				if n := reached.Load(); n != together {
					return fmt.Errorf("%d requests have reached the upstream, %d are waited for", n, together)
				}
				return nil
			})
			close(answer)
			all.Wait()
			for _, r := range append(readers, route) {
				if got := o.post(r); got != "FILTER_CANNOT_SERVE_CHAIN" {
					t.Errorf("a further request on %s was answered %q", r, got)
				}
			}
			if n := reached.Load(); n != together {
				t.Errorf("%d further requests reached the upstream", n-together)
			}
			if got := o.post("headers"); got != "" {
				t.Errorf("a chain of headers was answered %q", got)
			}
			if n := o.contradictions(); n != together {
				t.Errorf("%v requests count as having shown it, want %d", n, together)
			}
			if got := o.found(); len(got) != 1 || got[0] != trusted {
				t.Errorf("the dump tells of %q", got)
			}
			logs(t, o.engine, 0, `"level":"ERROR"`, "does not behave as its stamp or engine.yaml says", trusted)

			if got := o.post("other"); got != "REQUEST_PHASE_SKIPPED" {
				t.Errorf("a filter with another stamp was answered %q", got)
			}

			// Another Envoy, whose filter does as it says.
			o.front(true)
			for _, r := range append(readers, "other") {
				if got := o.post(r); got != "" {
					t.Errorf("over a new connection, %s was answered %q", r, got)
				}
			}
			harnesstest.Eventually(t, func() error {
				if got := o.found(); len(got) != 0 {
					return fmt.Errorf("the dump still tells of %q", got)
				}
				return nil
			})
		})
	}
}

// hostile are bytes of a client that wants the engine to lose its trust in a filter.
var hostile = map[string]string{
	"an empty body":                       "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"an empty body of unknown length":     "POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"trailers alone":                      "POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx-t: 1\r\n\r\n",
	"a body and trailers":                 "POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n",
	"headers and nothing more":            "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
	"a body that is not sent to its end":  "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe",
	"pieces that are not sent to the end": "POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
	"pieces that are none":                "POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n",
	"a body that waits to be asked for":   "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
	"a GET with a body":                   "GET %s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
	"a HEAD":                              "HEAD %s HTTP/1.1\r\nHost: a\r\n\r\n",
	"a HEAD with a body":                  "HEAD %s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
	"a websocket":                         "GET %s HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
	"two requests behind one another":     "POST %[1]s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiPOST %[1]s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
	"no HTTP behind a request":            "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\x00\x01\x02\r\n\r\n",
	"a path without a route":              "POST /nowhere%s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
	"a large body":                        "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + strings.Repeat("x", 3_000_000),
}

// answers are what upstreams do that such a client may bring about.
var answers = map[string]harness.Answer{
	"an answer":                 {Chunks: [][]byte{[]byte("hello")}},
	"an answer before the body": {Unread: true, Status: http.StatusForbidden, Chunks: [][]byte{[]byte("no")}},
	"headers before the body":   {Early: true, Chunks: [][]byte{[]byte("hello")}},
	"an answer without content": {Status: http.StatusNoContent},
	"a broken connection":       {Abort: true},
	"a refusal":                 {Status: http.StatusServiceUnavailable},
}

// TestNoClientDiscreditsAFilter proves that whatever clients send and upstreams answer,
// nothing of it counts against a filter that does as it says: chains that read bodies are
// served as before.
func TestNoClientDiscreditsAFilter(t *testing.T) {
	t.Parallel()
	o := newOverridden(t)
	o.front(true)
	for name, a := range answers {
		o.upstream.Answer(a)
		var all sync.WaitGroup
		for _, route := range readers {
			for what, request := range hostile {
				all.Go(func() {
					if err := o.attack(fmt.Sprintf(request, "/"+route)); err != nil {
						t.Errorf("%s: %s on %s: %v", name, what, route, err)
					}
				})
			}
			all.Go(func() { o.reset("/" + route) })
		}
		all.Wait()
		if n := o.contradictions(); n != 0 || len(o.found()) > 0 {
			t.Fatalf("%s: %v requests count against the filter: %q\n%s", name, n, o.found(), o.engine.Log())
		}
	}
	o.upstream.Answer(harness.Answer{})
	for _, route := range readers {
		if got := o.post(route); got != "" {
			t.Errorf("%s is answered %q", route, got)
		}
	}
}

// attack sends bytes, waits a little for an answer, and goes away.
func (o *overridden) attack(request string) error {
	c, err := net.Dial("tcp", o.envoy.Listener(harness.MainListener))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		return err
	}
	// Envoy may answer, and close, before it has read everything.
	_, _ = io.WriteString(c, request)
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close() // what has not come may be waited for
	return nil
}

// reset begins requests over HTTP/2 and resets each in another state.
func (o *overridden) reset(path string) {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	var all sync.WaitGroup
	for _, after := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond} {
		for _, pieces := range []int{0, 1, 3} {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(o.t.Context(), after)
				defer cancel()
				body, w := io.Pipe()
				go func() {
					for range pieces {
						_, _ = io.WriteString(w, "piece")
					}
					<-ctx.Done()
					w.CloseWithError(errors.New("reset"))
				}()
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+o.envoy.Listener(harness.MainListener)+path, body)
				if err != nil {
					o.t.Error(err)
					return
				}
				if response, err := transport.RoundTrip(request); err == nil {
					_, _ = io.Copy(io.Discard, response.Body)
					response.Body.Close()
				}
			})
		}
	}
	all.Wait()
}
