package lifecycle_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
)

const mib = 1 << 20

// TestMoreRequestsThanAConnectionTakes proves that Envoy opens further connections for
// the requests that one connection to an engine does not take by default, and that none
// of them fails.
func TestMoreRequestsThanAConnectionTakes(t *testing.T) {
	const requests = 1300
	s := newSite(t)
	e := s.engine("e", nil)
	s.edit = func(b *harness.Bootstrap) {
		b.UpstreamHTTP2 = true
		b.Connection = map[string]any{"http2_protocol_options": map[string]any{"max_concurrent_streams": 10_000}}
	}
	s.front(e.Address(), generated(t, e))
	crowd := s.crowd("/held", requests)
	s.inFlight([]*harness.Engine{e}, requests)
	if n := clusterStat(t, s.envoy, "upstream_cx_active"); n < 2 {
		t.Errorf("%d requests are on %d connections: this test shows nothing", requests, n)
	}
	s.open()
	if failed := crowd.failures(); failed > 0 {
		t.Errorf("%d of %d requests have failed", failed, requests)
	}
}

// alone starts an engine without an Envoy, whose one chain sees whole bodies and holds
// them until the file is there.
func alone(t *testing.T, limits map[string]any, gate string) *harness.Engine {
	t.Helper()
	chains, err := json.Marshal(map[string]any{
		"chains": []any{map[string]any{"name": "c", "bodyLimit": "64MiB", "policies": []any{
			map[string]any{"name": "probe", "version": "v1.0.0", "timeout": "50s",
				"params": map[string]any{"requestBody": map[string]any{"fail": map[string]any{"until": gate}}}},
		}}},
		"routes": []any{map[string]any{"name": "r", "chain": "c"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := harness.StartEngine(harnesstest.Context(t), harness.EngineOptions{
		Path: engines.Binary(t, engines.Cases), Dir: harnesstest.Dir(t), Chains: chains,
		Config: map[string]any{"limits": limits, "filter": map[string]any{
			"messageTimeout": "60s", "processingMode": map[string]any{"requestTrailers": "send"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Stop()
		if t.Failed() {
			t.Log(e.Log())
		}
	})
	return e
}

// upload sends a request with a body, which it does not announce, and returns the details
// of the engine's answer, or nothing where the request passed.
func upload(t *testing.T, client extprocv3.ExternalProcessorClient, body []byte) (string, error) {
	s, err := client.Process(harnesstest.Context(t))
	if err != nil {
		return "", err
	}
	first := &extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{Headers: &corev3.HeaderMap{
			Headers: []*corev3.HeaderValue{{Key: ":method", RawValue: []byte("POST")}, {Key: ":path", RawValue: []byte("/")}}}}},
		Attributes: map[string]*structpb.Struct{"envoy.filters.http.ext_proc": {Fields: map[string]*structpb.Value{
			"xds.route_name": structpb.NewStringValue("r")}}},
		ProtocolConfig: &extprocv3.ProtocolConfiguration{RequestBodyMode: modev3.ProcessingMode_BUFFERED},
	}
	if err := s.Send(first); err != nil {
		return "", err
	}
	if _, err := s.Recv(); err != nil {
		return "", err
	}
	err = s.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: body, EndOfStream: true}}})
	if err != nil && err != io.EOF {
		return "", err
	}
	reply, err := s.Recv()
	if err != nil {
		return "", err
	}
	return reply.GetImmediateResponse().GetDetails(), nil
}

// TestBodiesAreBoundedTogether proves that an engine takes as many bodies as limits.memory
// has room for, that it refuses the others, that a body costs at most half as much again
// as its size, and that the memory is returned when the bodies are gone.
func TestBodiesAreBoundedTogether(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		streams, body, limit int64
		taken                int64
	}{
		{"sixty bodies of 9 MiB in 256 MiB", 60, 9 * mib, 256 * mib, 28},
		{"eight bodies of 64 MiB in 512 MiB", 8, 64 * mib, 512 * mib, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			gate := filepath.Join(t.TempDir(), "gate")
			e := alone(t, map[string]any{"memory": tt.limit}, gate)
			conn, err := grpc.NewClient(e.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			client := extprocv3.NewExternalProcessorClient(conn)
			before, _, err := e.Resident()
			if err != nil {
				t.Fatal(err)
			}

			body := bytes.Repeat([]byte("0123456789abcdef"), int(tt.body/16))
			var all sync.WaitGroup
			var mu sync.Mutex
			answers := map[string]int64{}
			for range tt.streams {
				all.Go(func() {
					details, err := upload(t, client, body)
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						details = err.Error()
					}
					answers[details]++
				})
			}
			metric := func(name string, want float64) {
				t.Helper()
				harnesstest.Eventually(t, func() error {
					got, err := e.Metric(t.Context(), name)
					if err == nil && got != want {
						err = fmt.Errorf("%s is %v, want %v", name, got, want)
					}
					return err
				})
			}
			metric("body_memory_refusals_total", float64(tt.streams-tt.taken))
			metric("body_memory_bytes", float64(tt.taken*tt.body))
			ready, err := e.Admin(t.Context(), "/readyz")
			if want := fmt.Sprintf("body memory: %d of %d bytes", tt.taken*tt.body, tt.limit); err != nil || !strings.Contains(string(ready), want) {
				t.Errorf("/readyz says %q, %v; want %q", ready, err, want)
			}
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			all.Wait()
			if answers[""] != tt.taken || answers["policy_engine.OVERLOADED"] != tt.streams-tt.taken || len(answers) > 2 {
				t.Errorf("the answers are %v", answers)
			}
			metric("body_memory_bytes", 0)

			_, most, err := e.Resident()
			if err != nil {
				t.Fatal(err)
			}
			// The rest is for streams whose data is not read yet: as much as
			// HTTP/2's window lets in.
			const aside = 64 * mib
			payload := tt.taken * tt.body
			t.Logf("%d MiB of bodies have taken %d MiB", payload/mib, (most-before)/mib)
			if took := most - before; took > payload*3/2+aside {
				t.Errorf("%d MiB of bodies have taken %d MiB", payload/mib, took/mib)
			}
			harnesstest.Eventually(t, func() error {
				now, _, err := e.Resident()
				if err == nil && now-before > payload/4 {
					err = fmt.Errorf("%d MiB have not been returned", (now-before)/mib)
				}
				return err
			})
		})
	}
}

// TestHeaderListsAreBounded proves that an engine does not unpack what a few bytes of HPACK
// can stand for: a large header that is sent once and repeated by one byte each. It is
// no Envoy that does so.
func TestHeaderListsAreBounded(t *testing.T) {
	const streams, repeats = 300, 15_000
	e := alone(t, map[string]any{}, "/nowhere")
	before, _, err := e.Resident()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", strings.TrimPrefix(e.Address(), "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c := http2Client{Conn: conn}
	c.write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	c.frame(frameSettings, 0, 0, nil)
	for i := range streams {
		// :method POST and :scheme http are in HPACK's static table, the large
		// header is the newest in the dynamic one (RFC 7541, sections 6 and 2.3.3).
		block := []byte{0x83, 0x86}
		block = literal(block, ":path", "/envoy.service.ext_proc.v3.ExternalProcessor/Process")
		block = literal(block, "content-type", "application/grpc")
		block = literal(block, "te", "trailers")
		block = append(literal(block, "x-large", strings.Repeat("x", 1000)), bytes.Repeat([]byte{0xbe}, repeats)...)
		c.frame(frameHeaders, endHeaders, uint32(2*i+1), block)
	}
	c.frame(framePing, 0, 0, make([]byte, 8))
	refused := 0
	for pinged := false; !pinged && c.err == nil; {
		kind, flags := c.read()
		switch {
		case kind == frameReset:
			refused++
		case kind == framePing && flags&ack != 0:
			pinged = true
		}
	}
	if c.err != nil {
		t.Fatal(c.err)
	}
	_, most, err := e.Resident()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d streams were refused, and have taken %d MiB", refused, (most-before)/mib)
	if took := most - before; took > streams*256<<10 {
		t.Errorf("%d streams have taken %d MiB", streams, took/mib)
	}
	if _, err := e.Admin(t.Context(), "/healthz"); err != nil {
		t.Error(err)
	}
	if n, err := e.Metric(t.Context(), "streams_total"); err != nil || n != 0 {
		t.Errorf("%v of the streams were begun, %v", n, err)
	}
}

// The frames of HTTP/2 that are used here (RFC 9113, section 6).
const (
	frameHeaders  = 0x1
	frameReset    = 0x3
	frameSettings = 0x4
	framePing     = 0x6

	ack        = 0x1
	endHeaders = 0x4
)

// literal appends a header that is put into the dynamic table, whose name and value are
// not compressed.
func literal(block []byte, name, value string) []byte {
	block = append(block, 0x40)
	for _, s := range []string{name, value} {
		if n := len(s); n < 127 {
			block = append(block, byte(n))
		} else {
			block = binary.AppendUvarint(append(block, 127), uint64(n-127))
		}
		block = append(block, s...)
	}
	return block
}

// http2Client writes and reads frames. Its first error stays.
type http2Client struct {
	net.Conn
	err error
}

func (c *http2Client) write(b []byte) {
	if c.err == nil {
		_, c.err = c.Write(b)
	}
}

func (c *http2Client) frame(kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	c.write(append(binary.BigEndian.AppendUint32(b, stream), payload...))
}

func (c *http2Client) read() (kind, flags byte) {
	var head [9]byte
	if _, err := io.ReadFull(c.Conn, head[:]); err != nil {
		c.err = err
		return 0, 0
	}
	n := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
	if _, err := io.CopyN(io.Discard, c.Conn, n); err != nil {
		c.err = err
	}
	return head[3], head[4]
}
