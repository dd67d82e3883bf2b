package extproc_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"policyengine.dev/runtime/extproc/negotiate"
)

var update = flag.Bool("update", false, "write the replies that come into the transcripts")

// transcript is one stream, as it is written down:
//
//	== what it proves
//	chain request_headers=set(x-a,1)
//	filter v1 mode_override
//	modes BUFFERED NONE
//	prefer overrides
//	> request_headers { ... }
//	< request_headers { ... }
//	< end
//
// Lines with > are ProcessingRequests and lines with < ProcessingResponses, in text
// format. The last line says how the stream goes on: "< end" is that the engine ends
// it, "< error CODE" that it does so with an error, "< waits" that it waits for more.
type transcript struct {
	line               int
	name, chain, stamp string
	request, response  string
	// prefers has the kernel ask for request bodies by mode overrides.
	prefers bool
	steps   []string
	// release lets policies come back that hold the stream up.
	release func()
}

const (
	endsCleanly = "end"
	waitsOn     = "waits"
	endsInError = "error "
)

func readTranscripts(t *testing.T, file string) []*transcript {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []*transcript
	for i, line := range strings.Split(string(text), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		if word == "==" {
			all = append(all, &transcript{line: i + 1, name: rest})
			continue
		}
		if word == "" || word == "#" {
			continue
		}
		if len(all) == 0 {
			t.Fatalf("%s:%d: a transcript begins with ==", file, i+1)
		}
		c := all[len(all)-1]
		switch word {
		case "chain":
			c.chain = rest
		case "filter":
			c.stamp = rest
		case "modes":
			c.request, c.response, _ = strings.Cut(rest, " ")
		case "prefer":
			c.prefers = true
		case ">", "<":
			c.steps = append(c.steps, line)
		default:
			t.Fatalf("%s:%d: what is %q?", file, i+1, word)
		}
	}
	return all
}

func (c *transcript) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "== %s\nchain %s\n", c.name, c.chain)
	if c.stamp != "" {
		fmt.Fprintf(&b, "filter %s\n", c.stamp)
	}
	if c.request != "" {
		fmt.Fprintf(&b, "modes %s %s\n", c.request, c.response)
	}
	if c.prefers {
		fmt.Fprintln(&b, "prefer overrides")
	}
	for _, s := range c.steps {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

// TestTranscripts replays streams, as Envoy would send them, against the kernel. Run
// it with -update to write down what is answered, and read the difference.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			var out []string
			for _, c := range readTranscripts(t, file) {
				t.Run(c.name, func(t *testing.T) {
					c.replay(t, fmt.Sprintf("%s:%d", file, c.line))
				})
				out = append(out, c.text())
			}
			if *update {
				if err := os.WriteFile(file, []byte(strings.Join(out, "\n")), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func (c *transcript) open(t *testing.T) *stream {
	t.Helper()
	ch := parseChain(t, c.chain)
	e := serve(t, oneChain(ch), options{PreferModeOverride: c.prefers})
	c.release = sync.OnceFunc(func() { close(ch.release) })
	t.Cleanup(c.release)
	if c.stamp != "" {
		s, err := negotiate.ParseStamp(c.stamp)
		if err != nil {
			t.Fatal(err)
		}
		e.stamp = &s
	}
	s := e.open(t, "r")
	mode := func(name string) modev3.ProcessingMode_BodySendMode {
		if name == "" {
			return modev3.ProcessingMode_NONE
		}
		n, ok := modev3.ProcessingMode_BodySendMode_value[name]
		if !ok {
			t.Fatalf("no body mode is called %q", name)
		}
		return modev3.ProcessingMode_BodySendMode(n)
	}
	return s.withModes(mode(c.request), mode(c.response))
}

func (c *transcript) replay(t *testing.T, at string) {
	s := c.open(t)
	answers := make(chan string)
	go func() {
		defer close(answers)
		for {
			r, err := s.grpc.Recv()
			switch {
			case err == nil:
				answers <- oneLine(r)
				continue
			case errors.Is(err, io.EOF):
				answers <- endsCleanly
			default:
				answers <- endsInError + status.Code(err).String()
			}
			return
		}
	}()
	steps := c.steps
	if *update {
		c.steps = nil
	}
	ended := ""
	for _, step := range steps {
		kind, text, _ := strings.Cut(step, " ")
		switch {
		case kind == ">":
			var m extprocv3.ProcessingRequest
			if err := prototext.Unmarshal([]byte(text), &m); err != nil {
				t.Fatalf("%s: %v in %s", at, err, text)
			}
			s.send(&m)
			if *update {
				c.steps = append(c.steps, step)
				if e := c.record(answers); e != "" {
					ended = e
				}
			}
		case *update:
		case text == waitsOn:
			c.waits(s, answers)
		default:
			select {
			case got := <-answers:
				if want := normal(t, at, text); got != want {
					t.Errorf("%s: got\n%s\nwant\n%s", at, got, want)
				}
			case <-time.After(patience):
				t.Fatalf("%s: no answer; want %s", at, text)
			}
		}
	}
	if *update && ended == "" {
		c.steps = append(c.steps, "< "+waitsOn)
		c.waits(s, answers)
	}
	for got := range answers {
		t.Errorf("%s: more came than expected: %s", at, got)
	}
}

// waits expects that the kernel has nothing more to say, and ends the stream from
// Envoy's side. TestHalfClosed says which of these streams may end cleanly.
func (c *transcript) waits(s *stream, answers <-chan string) {
	s.t.Helper()
	if err := s.grpc.CloseSend(); err != nil {
		s.t.Fatal(err)
	}
	c.release()
	if got := <-answers; got != endsCleanly && got != endsInError+codes.Canceled.String() {
		s.t.Errorf("the stream was to wait, and came to %s", got)
	}
}

// record notes what comes within a while.
func (c *transcript) record(answers <-chan string) (ended string) {
	for {
		select {
		case a, ok := <-answers:
			if !ok {
				return ended
			}
			c.steps = append(c.steps, "< "+a)
			if a == endsCleanly || strings.HasPrefix(a, endsInError) {
				ended = a
			}
		case <-time.After(200 * time.Millisecond):
			return ended
		}
	}
}

var spaces = regexp.MustCompile(` +`)

// oneLine is a message in text format, in the one form that is written down.
func oneLine(m proto.Message) string {
	r := m.(*extprocv3.ProcessingResponse)
	if b := r.GetImmediateResponse(); b != nil {
		// What the engine's own answers say is not the kernel's.
		b.Body = nil
		b.Headers = nil
	}
	return spaces.ReplaceAllString(prototext.MarshalOptions{}.Format(m), " ")
}

func normal(t *testing.T, at, text string) string {
	t.Helper()
	if text == endsCleanly || strings.HasPrefix(text, endsInError) {
		return text
	}
	var m extprocv3.ProcessingResponse
	if err := prototext.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v in %s", at, err, text)
	}
	return oneLine(&m)
}
