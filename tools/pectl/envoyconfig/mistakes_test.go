package envoyconfig_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/tools/envoy"
	"policyengine.dev/tools/pectl/envoyconfig/check"
)

// TestMistakes proves, with a real engine and the pinned Envoy, what a check says of
// mistakes whose harm shows only beside an engine.
func TestMistakes(t *testing.T) {
	binary := envoy.Binary(t)
	d, upstream, engineFile, good := besideAnEngine(t)
	const (
		holding  = `"name":"to-holding","route":{"cluster":"upstream"},"typed_per_filter_config":`
		duplex   = `"request_body_mode":"FULL_DUPLEX_STREAMED","request_header_mode":"SEND","request_trailer_mode":`
		stat     = `"stat_prefix":"ingress"`
		closed   = `"failure_mode_allow":false`
		refused  = "GET /to-refusing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
		chunked  = "POST /to-holding HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
		body     = "POST /to-bodies HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
		trailers = chunked + "2\r\nhi\r\n0\r\nx-trailer: 1\r\n\r\n"
		on       = stat + `,"http_protocol_options":{"enable_trailers":true}`
	)
	for _, tt := range []struct {
		rule, request string
		// both is changed in both configurations, wrong in one.
		both, wrong [2]string
		// good and bad are what comes of it: the status, and the body that
		// the upstream saw.
		good, bad string
	}{
		{check.ImmediateResponses, refused, [2]string{}, [2]string{closed, closed + `,"disable_immediate_response":true`}, "403 ", "500 "},
		{check.ImmediateResponses, refused, [2]string{}, [2]string{closed, `"failure_mode_allow":true,"disable_immediate_response":true`}, "403 ", "200 "},
		// Overrides that are switched off under the old stamp cost nothing: no chain depends on them.
		{check.StampMismatch, body, [2]string{}, [2]string{`"allow_mode_override":true`, `"allow_mode_override":false`}, "200 in:hi", "200 in:hi"},
		{check.NotShown, trailers, [2]string{stat, on}, [2]string{holding + `{"envoy.filters.http.ext_proc"`, holding + `{"other"`}, "200 HI", "500 "},
		{check.FullDuplexTrailers, trailers, [2]string{stat, on}, [2]string{duplex + `"SEND"`, duplex + `"SKIP"`}, "200 HI", "200 "},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			mended := strings.Replace(good, tt.both[0], tt.both[1], 1)
			wrong := strings.Replace(mended, tt.wrong[0], tt.wrong[1], 1)
			if wrong == mended {
				t.Fatal("nothing is wrong")
			}
			_, out, _ := d.pectl("check", "--config", engineFile, d.write("wrong.json", wrong))
			if !strings.Contains(out, "["+tt.rule+"]") {
				t.Errorf("not found: %s", out)
			}
			for config, want := range map[string]string{mended: tt.good, wrong: tt.bad} {
				upstream.Forget()
				got := send(t, binary, config, tt.request)
				for _, r := range upstream.Received() {
					got += string(r.Body)
				}
				if got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
}

// besideAnEngine runs an engine and an upstream, and returns the configuration that
// belongs in between.
func besideAnEngine(t *testing.T, flags ...string) (d *directory, upstream *harness.Upstream, engineFile, config string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "circle")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d = &directory{t, dir}
	engineFile = startEngine(t, d)
	code, generated, errors := d.pectl(append([]string{"--config", engineFile}, flags...)...)
	if code != 0 {
		t.Fatal(errors)
	}
	if upstream, err = harness.StartUpstream(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(upstream.Close)
	var b bytes.Buffer
	if err := json.Compact(&b, throughUpstream(t, d, generated, upstream.Address())); err != nil {
		t.Fatal(err)
	}
	return d, upstream, engineFile, b.String()
}

// TestBufferLimits proves what the check takes for granted of Envoy's buffer limits:
// for a request the listener's counts, over HTTP/2 the window of a stream in its place,
// and for a response the larger one of that and the route's.
func TestBufferLimits(t *testing.T) {
	binary := envoy.Binary(t)
	d, upstream, engineFile, good := besideAnEngine(t)
	const (
		size  = 3 << 20
		own   = `,"per_connection_buffer_limit_bytes":10551296`
		route = `"name":"to-bodies",`
	)
	large := strings.Repeat("x", size)
	const (
		none      = `,"per_connection_buffer_limit_bytes":0`
		ownRoute  = route + `"request_body_buffer_limit":10485760,`
		window    = `"http2_protocol_options":{"initial_stream_window_size":1048576},`
		overHTTP2 = " over HTTP/2"
	)
	for _, tt := range []struct {
		name, over, listener, window, route string
		request, response                   string
	}{
		{"as generated", "", own, "", route, "200 ", "200 "},
		{"Envoy's default", "", "", "", route, "413 ", "500 "},
		{"a route's own limit", "", "", "", ownRoute, "413 ", "200 "},
		{"a route's own limit, lower", "", own, "", route + `"request_body_buffer_limit":1048576,`, "200 ", "200 "},
		{"no limit", "", none, "", route, "200 ", "200 "},
		{"a window, which is none of HTTP/1", "", own, window, route, "200 ", "200 "},
		{"HTTP/2", overHTTP2, "", "", route, "200 ", "200 "},
		{"HTTP/2 with a window", overHTTP2, none, window, route, "413 ", "500 "},
		{"HTTP/2 with a window and a route's own limit", overHTTP2, own, window, ownRoute, "413 ", "200 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := strings.Replace(good, route, tt.route, 1)
			config = strings.Replace(config, own, tt.listener, 1)
			config = strings.Replace(config, `"stat_prefix":"ingress"`, tt.window+`"stat_prefix":"ingress"`, 1)
			upstream.Answer(harness.Answer{Chunks: [][]byte{[]byte("short")}})
			if got := exchangeOver(t, tt.over != "", binary, config, large); got != tt.request {
				t.Errorf("a large request: %q, want %q", got, tt.request)
			}
			upstream.Answer(harness.Answer{Chunks: [][]byte{[]byte(large)}})
			if got := exchangeOver(t, tt.over != "", binary, config, ""); got != tt.response {
				t.Errorf("a large response: %q, want %q", got, tt.response)
			}
			_, out, _ := d.pectl("check", "--config", engineFile, d.write("limits.json", config))
			const chain = `chain "bodies" allows bodies of 10485760 bytes, and Envoy answers `
			for answer, status := range map[string]string{"a request of 1048576 and more" + tt.over + " by itself with 413": tt.request, "a response of 1048576 and more" + tt.over + " by itself with 500": tt.response} {
				if strings.Contains(out, chain+answer) != (status != "200 ") {
					t.Errorf("status %s, and the check says\n%s", status, out)
				}
			}
		})
	}
}

// exchangeOver runs Envoy and sends a request, with a body where there is one, over
// HTTP/1.1 or HTTP/2. It returns the status and a space.
func exchangeOver(t *testing.T, http2 bool, binary, config, body string) string {
	t.Helper()
	if !http2 {
		const head = " /to-bodies HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
		if body == "" {
			return send(t, binary, config, "GET"+head+"\r\n")
		}
		return send(t, binary, config, fmt.Sprintf("POST%sContent-Length: %d\r\n\r\n%s", head, len(body), body))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e, err := harness.StartEnvoy(ctx, harness.EnvoyOptions{Path: binary, Config: []byte(config), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+e.Listener("main")+"/to-bodies", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	if response.ProtoMajor != 2 {
		t.Errorf("the answer comes over %s", response.Proto)
	}
	return strconv.Itoa(response.StatusCode) + " "
}

// send runs Envoy and sends a request as it is written. It returns the status and a
// space.
func send(t *testing.T, binary, config, request string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e, err := harness.StartEnvoy(ctx, harness.EnvoyOptions{Path: binary, Config: []byte(config), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	c, err := net.Dial("tcp", e.Listener("main"))
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
	// Envoy may answer before it has read everything, and then does not close.
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(response.StatusCode) + " "
}
