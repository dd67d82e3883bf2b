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
		{check.FullDuplexOverride, trailers, [2]string{stat, on}, [2]string{holding + `{"envoy.filters.http.ext_proc"`, holding + `{"other"`}, "200 HI", "500 "},
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
func besideAnEngine(t *testing.T) (d *directory, upstream *harness.Upstream, engineFile, config string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "circle")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d = &directory{t, dir}
	engineFile = startEngine(t, d)
	code, generated, errors := d.pectl("--config", engineFile)
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
// for a request the listener's counts, for a response the larger one of the listener
// and the route.
func TestBufferLimits(t *testing.T) {
	binary := envoy.Binary(t)
	d, upstream, engineFile, good := besideAnEngine(t)
	const (
		size  = 3 << 20
		own   = `,"per_connection_buffer_limit_bytes":10551296`
		route = `"name":"to-bodies",`
	)
	large := strings.Repeat("x", size)
	for _, tt := range []struct {
		name, listener, route string
		request, response     string
	}{
		{"as generated", own, route, "200 ", "200 "},
		{"Envoy's default", "", route, "413 ", "500 "},
		{"a route's own limit", "", route + `"request_body_buffer_limit":10485760,`, "413 ", "200 "},
		{"a route's own limit, lower", own, route + `"request_body_buffer_limit":1048576,`, "200 ", "200 "},
		{"no limit", `,"per_connection_buffer_limit_bytes":0`, route, "200 ", "200 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := strings.Replace(good, route, tt.route, 1)
			config = strings.Replace(config, own, tt.listener, 1)
			upstream.Answer(harness.Answer{Chunks: [][]byte{[]byte("short")}})
			head := " /to-bodies HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
			if got := send(t, binary, config, fmt.Sprintf("POST%sContent-Length: %d\r\n\r\n%s", head, size, large)); got != tt.request {
				t.Errorf("a large request: %q, want %q", got, tt.request)
			}
			upstream.Answer(harness.Answer{Chunks: [][]byte{[]byte(large)}})
			if got := send(t, binary, config, "GET"+head+"\r\n"); got != tt.response {
				t.Errorf("a large response: %q, want %q", got, tt.response)
			}
			_, out, _ := d.pectl("check", "--config", engineFile, d.write("limits.json", config))
			for answer, status := range map[string]string{"a request of 1048576 and more by itself with 413": tt.request, "a response of 1048576 and more by itself with 500": tt.response} {
				if strings.Contains(out, answer) != (status != "200 ") {
					t.Errorf("status %s, and the check says\n%s", status, out)
				}
			}
		})
	}
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
