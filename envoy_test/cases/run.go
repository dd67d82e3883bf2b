package cases

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
	"policyengine.dev/sdk/strictyaml"
	"policyengine.dev/tools/envoy"
)

// Run runs the suite, each exchange a test of its own. engine returns the path of an
// engine's binary; it is called only where the suite needs one. An exchange depends
// on those before it only where it says so by First or Chains.
func (s Suite) Run(t *testing.T, engine func(testing.TB) string) {
	var r runner
	o := harness.Options{Envoy: envoy.Binary(t)} // or the test is skipped, before an engine is built
	if s.Chains.Kind() == strictyaml.Missing {
		r.processor = startProcessor(t)
		o.Bootstrap.Engine = r.processor.address
	} else {
		o.Engine = harness.EngineOptions{Path: engine(t), Config: s.Engine, Chains: chainsText(s.Chains)}
	}
	r.stack = s.start(t, o)
	for _, x := range s.Exchanges {
		t.Run(x.Name, func(t *testing.T) { r.exchange(t, x) })
	}
}

func chainsText(n strictyaml.Node) []byte {
	if n.Kind() == strictyaml.String {
		return []byte(n.Text()) // written as it is, to be broken
	}
	return n.JSON()
}

func (s Suite) start(t *testing.T, o harness.Options) *harness.Stack {
	o.Bootstrap.Routes = routes(s.Envoy.Routes)
	o.Bootstrap.Before, o.Bootstrap.After = s.Envoy.Before, s.Envoy.After
	o.Bootstrap.ExtProc, o.Bootstrap.Connection = s.Envoy.ExtProc, s.Envoy.Connection
	o.Bootstrap.Listener, o.Bootstrap.Cluster = s.Envoy.Listener, s.Envoy.Cluster
	o.Bootstrap.VirtualHost, o.Bootstrap.UpstreamHTTP2 = s.Envoy.VirtualHost, s.Envoy.HTTP2
	return harnesstest.Start(t, o)
}

func routes(given []any) []any {
	var all []any
	for _, r := range given {
		if name, ok := r.(string); ok {
			r = harness.Route(name, "/"+name)
		}
		all = append(all, r)
	}
	return all
}

// counting is how long Envoy may take to count what it has done.
const counting = 5 * time.Second

type runner struct {
	stack *harness.Stack
	// processor is nil where there is an engine.
	processor *processor
	// logged is how many entries of the access log have been looked at.
	logged int
	// failed is how many of the engine's streams have failed.
	failed float64
}

func (r *runner) exchange(t *testing.T, x Exchange) {
	r.prepare(t, x)
	r.rehearse(t, x)
	before, err := r.stack.Envoy.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.stack.Upstream.Forget()
	r.stack.Upstream.Answer(x.Upstream.answer())
	var played <-chan differences
	if r.processor != nil {
		played = r.processor.play(x.Processor)
	}
	got, err := r.send(t, x, before)
	if err != nil {
		t.Fatal(err)
	}
	var d differences
	x.Want.client(&d, got)
	if err := r.settled(t, x, before, &d); err != nil {
		d.add("%v", err)
	}
	if len(x.Processor) > 0 {
		d.wait(played)
	}
	if err := r.released(t); err != nil {
		d.add("%v", err)
	}
	if err := d.err(); err != nil {
		t.Error(err)
	}
}

// send sends the request, and goes away when the case says so.
func (r *runner) send(t *testing.T, x Exchange, before harness.Counters) (*seen, error) {
	ctx, cancel := context.WithCancelCause(harnesstest.Context(t))
	var received atomic.Int64
	var watching sync.WaitGroup
	if x.Request.Leave != (Leave{}) {
		watching.Go(func() {
			x.Request.Leave.watch(ctx, r.stack, before, &received, func() { cancel(errCanceled) })
		})
	}
	defer watching.Wait()
	defer cancel(nil)
	return x.Request.send(ctx, r.stack.Address(), &received)
}

// rehearse sends the request without a look at what becomes of it.
func (r *runner) rehearse(t *testing.T, x Exchange) {
	t.Helper()
	r.stack.Upstream.Answer(x.Upstream.answer())
	for range x.Rehearsals {
		if _, err := x.Request.send(harnesstest.Context(t), r.stack.Address(), new(atomic.Int64)); err != nil {
			t.Fatal(err)
		}
	}
	harnesstest.Eventually(t, func() error {
		log, err := r.stack.Envoy.AccessLog()
		if err == nil && len(log) < r.logged+x.Rehearsals {
			err = errors.New("Envoy has not logged every rehearsal")
		}
		return err
	})
	r.logged += x.Rehearsals
}

// wait waits for what a scripted processor has to say.
func (d *differences) wait(played <-chan differences) {
	select {
	case found := <-played:
		*d = append(*d, found...)
	case <-time.After(counting):
		d.add("the processor's script was not played to its end")
	}
}

// settled waits until Envoy is done with the exchange and has counted what it was
// to count, and looks at what it has written.
func (r *runner) settled(t *testing.T, x Exchange, before harness.Counters, d *differences) error {
	var entry harness.AccessLogEntry
	harnesstest.Eventually(t, func() error {
		log, err := r.stack.Envoy.AccessLog()
		if err == nil && len(log) <= r.logged {
			return fmt.Errorf("Envoy has %d entries in its access log, want one more", len(log))
		}
		if err == nil {
			entry = log[r.logged]
		}
		return err
	})
	r.logged++
	x.Want.log(d, entry)
	if err := harnesstest.Within(counting, func() error {
		// The upstream may learn later than Envoy that a request has broken off.
		var reached differences
		x.Want.upstream(&reached, r.stack.Upstream.Received())
		return reached.err()
	}); err != nil {
		d.add("%v", err)
	}
	return harnesstest.Within(counting, func() error {
		now, err := r.stack.Envoy.Counters(t.Context())
		if err != nil {
			return err
		}
		var counted differences
		x.Want.counters(&counted, now.Since(before))
		return counted.err()
	})
}

// releasing is how long an engine may take to let go of an exchange that is over. It
// is longer than any policy in the cases holds a call up.
const releasing = 20 * time.Second

// released waits until the engine, where there is one, has no stream left. None may
// have failed: whatever becomes of an exchange, no engine is to err about it.
func (r *runner) released(t *testing.T) error {
	e := r.stack.Engine
	if e == nil {
		return nil
	}
	select {
	case <-e.Ended():
		r.failed = 0
		return nil
	default:
	}
	if err := harnesstest.Within(releasing, func() error {
		open, err := e.Metric(t.Context(), "streams_open")
		if err == nil && open != 0 {
			err = fmt.Errorf("the engine has %g streams open after the exchange", open)
		}
		return err
	}); err != nil {
		return err
	}
	before := r.failed
	failed, err := e.Metric(t.Context(), "streams_failed_total")
	if r.failed = failed; err == nil && failed != before {
		err = fmt.Errorf("%g of the engine's streams have failed, want none", failed-before)
	}
	return err
}

func (r *runner) prepare(t *testing.T, x Exchange) {
	t.Helper()
	switch x.First {
	case "kill the engine":
		r.stack.Engine.Kill()
	case "terminate the engine":
		r.stack.Engine.Terminate()
		<-r.stack.Engine.Ended()
	case "start the engine":
		if err := r.stack.Engine.Start(harnesstest.Context(t), chainsText(x.Chains)); err != nil {
			t.Fatal(err)
		}
		return
	}
	if x.Chains.Kind() == strictyaml.Missing {
		return
	}
	if err := r.stack.Engine.SetChains(harnesstest.Context(t), chainsText(x.Chains)); err != nil {
		t.Fatal(err)
	}
}

func (u Upstream) answer() harness.Answer {
	a := harness.Answer{
		Status: u.Status, Informational: u.Informational, Header: http.Header{}, Delay: u.Delay, Pause: u.Pause,
		Early: u.Early, Unread: u.Unread, Abort: u.Abort, Trailer: http.Header{},
	}
	for _, c := range u.Chunks {
		a.Chunks = append(a.Chunks, []byte(c))
	}
	switch {
	case u.BodySize > 0:
		a.Chunks = append(a.Chunks, filler(u.BodySize))
	case u.Body != "":
		a.Chunks = append(a.Chunks, encode(u.Encoding, []byte(u.Body)))
	}
	if u.Encoding != "" {
		a.Header.Set("Content-Encoding", u.Encoding)
	}
	a.Chunked = len(u.Chunks) > 0
	for _, h := range u.Headers {
		a.Header[textproto.CanonicalMIMEHeaderKey(h.Name)] = h.Values
	}
	for _, h := range u.Trailers {
		a.Trailer[textproto.CanonicalMIMEHeaderKey(h.Name)] = h.Values
	}
	return a
}

// testName is the name of a suite in tests.
func (s Suite) testName() string {
	name := s.File[strings.LastIndexByte(s.File, '/')+1:]
	return strings.TrimSuffix(name, ".yaml")
}
