package envoyconfig_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/tools/envoy"
)

// TestTrailers proves that what is generated serves a chain that holds back pieces of
// request bodies, wants whole response bodies, and changes trailers both ways: of
// messages with bodies and trailers, by overrides and by fixed modes.
func TestTrailers(t *testing.T) {
	binary := envoy.Binary(t)
	for name, flags := range map[string][]string{"overrides": nil, "fixed modes": {"--fixed-modes"}} {
		t.Run(name, func(t *testing.T) {
			d, upstream, engineFile, config := besideAnEngine(t, flags...)
			// HTTP/1.1 has trailers only where both sides are told to pass them on.
			const on = `"http_protocol_options":{"enable_trailers":true}`
			config = strings.Replace(config, `"stat_prefix":"ingress"`, `"stat_prefix":"ingress",`+on, 1)
			config = strings.Replace(config, `"name":"upstream","type":"STATIC"`, `"name":"upstream","type":"STATIC","typed_extension_protocol_options":{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
{"@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions","explicit_http_config":{`+on+`}}}`, 1)
			if code, out, errors := d.pectl("check", "--strict", "--config", engineFile, d.write("trailers.json", config)); code != 0 {
				t.Errorf("the check finds something: %s%s", out, errors)
			}
			upstream.Answer(harness.Answer{Chunks: [][]byte{[]byte("one "), []byte("two")}, Trailer: http.Header{"X-Upstream": {"there"}}})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			e, err := harness.StartEnvoy(ctx, harness.EnvoyOptions{Path: binary, Config: []byte(config), Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Stop()
			response, body := sendRaw(t, e.Listener("main"), "POST /to-everything HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"+
				"8\r\nquestion\r\n1\r\n?\r\n0\r\nx-client: there\r\n\r\n")
			if got := response.Trailer; response.StatusCode != 200 || body != "out:one two" || got.Get("X-Response") != "seen" || got.Get("X-Upstream") != "there" {
				t.Errorf("status %d, body %q, trailers %v", response.StatusCode, body, got)
			}
			received := upstream.Received()
			if len(received) != 1 {
				t.Fatalf("the upstream got %d requests\n%s", len(received), e.Log())
			}
			if r := received[0]; string(r.Body) != "QUESTION?" || r.Trailer.Get("X-Request") != "seen" || r.Trailer.Get("X-Client") != "there" {
				t.Errorf("the upstream saw the body %q and the trailers %v", r.Body, r.Trailer)
			}
			noFailures(ctx, t, e)
		})
	}
}

// sendRaw sends a request as it is written, and returns the response when all of it
// has arrived.
func sendRaw(t *testing.T, address, request string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}
