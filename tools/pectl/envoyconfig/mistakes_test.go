package envoyconfig_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
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
	dir, err := os.MkdirTemp("", "circle")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &directory{t, dir}
	engineFile := startEngine(t, d)
	code, generated, errors := d.pectl("--config", engineFile)
	if code != 0 {
		t.Fatal(errors)
	}
	upstream, err := harness.StartUpstream()
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	var good bytes.Buffer
	if err := json.Compact(&good, throughUpstream(t, d, generated, upstream.Address())); err != nil {
		t.Fatal(err)
	}
	const (
		block    = `"typed_per_filter_config":{"envoy.filters.http.ext_proc"`
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
		{check.FullDuplexOverride, trailers, [2]string{stat, on}, [2]string{block, `"typed_per_filter_config":{"other"`}, "200 HI", "500 "},
		{check.FullDuplexTrailers, trailers, [2]string{stat, on}, [2]string{duplex + `"SEND"`, duplex + `"SKIP"`}, "200 HI", "200 "},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			mended := strings.Replace(good.String(), tt.both[0], tt.both[1], 1)
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
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	status, _, _ := strings.Cut(strings.TrimPrefix(string(answer), "HTTP/1.1 "), " ")
	return status + " "
}
