package cases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
	"policyengine.dev/sdk/strictyaml"
	"policyengine.dev/tools/envoy"
	"policyengine.dev/tools/redistest"
)

// Run runs the suite, each exchange a test of its own. engine returns the path of an
// engine's binary; it is called only where the suite needs one. An exchange depends
// on those before it only where it says so by First or Chains.
func (s Suite) Run(t *testing.T, engine func(testing.TB) string) {
	var r runner
	var modes harness.Modes
	if s.Redis {
		r.redis = redistest.Start(t)
	}
	o := harness.Options{Envoy: envoy.Binary(t)} // or the test is skipped, before an engine is built
	if s.Chains.Kind() == strictyaml.Missing {
		r.processor = startProcessor(t, s.Server)
		o.Bootstrap.Engine = r.processor.address
	} else {
		o.Engine = harness.EngineOptions{Path: engine(t), Config: s.Engine, Chains: r.chains(s.Chains), Unready: s.Unready}
		if s.Modes {
			var err error
			if modes, err = harness.ModesFor(harnesstest.Context(t), o.Engine, r.allChains(s)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	o.Bootstrap.Routes = routes(s.Envoy.Routes, modes)
	o.Bootstrap.ExtProc = s.Envoy.ExtProc
	if len(modes) > 0 {
		harness.ShowTrailers(&o.Bootstrap, &o.Engine)
	}
	if s.Collector {
		r.collector = startCollector(t)
		r.collector.use(&o)
	}
	if s.Envoy.ClientCertificates {
		r.authority = newAuthority(t)
		o.Bootstrap.FilterChain = r.authority.listener(t)
	}
	r.stack = s.start(t, o)
	for _, x := range s.Exchanges {
		t.Run(x.Name, func(t *testing.T) { r.exchange(t, x) })
	}
}

// chains is the text of a file of chains.
func (r *runner) chains(n strictyaml.Node) []byte {
	if n.Kind() == strictyaml.String {
		return []byte(n.Text()) // written as it is, to be broken
	}
	if r.redis != nil {
		return bytes.ReplaceAll(n.JSON(), []byte("${redis}"), []byte(r.redis.Address))
	}
	return n.JSON()
}

func (s Suite) start(t *testing.T, o harness.Options) *harness.Stack {
	o.Bootstrap.Before, o.Bootstrap.After = s.Envoy.Before, s.Envoy.After
	o.Bootstrap.Connection = s.Envoy.Connection
	o.Bootstrap.Listener, o.Bootstrap.Cluster = s.Envoy.Listener, s.Envoy.Cluster
	o.Bootstrap.VirtualHost, o.Bootstrap.UpstreamHTTP2 = s.Envoy.VirtualHost, s.Envoy.HTTP2
	o.Bootstrap.UpstreamCluster, o.Bootstrap.Runtime = s.Envoy.Upstream, s.Envoy.Runtime
	return harnesstest.Start(t, o)
}

// allChains are the files of chains that are in force one after the other.
func (r *runner) allChains(s Suite) [][]byte {
	all := [][]byte{r.chains(s.Chains)}
	for _, x := range s.Exchanges {
		if x.Chains.Kind() != strictyaml.Missing {
			all = append(all, r.chains(x.Chains))
		}
	}
	return all
}

func routes(given []any, modes harness.Modes) []any {
	var all []any
	for _, r := range given {
		switch route := r.(type) {
		case string:
			named := harness.Route(route, "/"+route)
			modes.Apply(named)
			r = named
		case map[string]any:
			if _, said := route["typed_per_filter_config"]; !said {
				route = maps.Clone(route)
				modes.Apply(route)
				r = route
			}
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
	// collector is nil where nobody collects spans.
	collector *collector
	// authority is nil where clients do not speak TLS.
	authority *authority
	// redis is nil where there is none.
	redis *redistest.Server
	// logged is how many entries of the access log have been looked at.
	logged int
}

func (r *runner) exchange(t *testing.T, x Exchange) {
	r.prepare(t, x)
	r.rehearse(t, x)
	before, err := r.counted(t, x)
	if err != nil {
		t.Fatal(err)
	}
	r.stack.Upstream.Forget()
	r.stack.Upstream.Answer(x.Upstream.answer())
	played := newRound(x.Processor, x.times())
	if r.processor != nil {
		r.processor.play(played)
	}
	got, err := r.send(t, x, before.extProc, played.answer)
	if err != nil {
		t.Fatal(err)
	}
	var d differences
	got = x.Want.others(&d, got)
	for _, s := range got {
		x.Want.client(&d, s)
	}
	if err := r.settled(t, x, before, &d); err != nil {
		d.add("%v", err)
	}
	if len(x.Processor) > 0 {
		for range got {
			d.wait(played.played)
		}
	}
	if err := r.released(t); err != nil {
		d.add("%v", err)
	}
	if err := d.err(); err != nil {
		t.Error(err)
	}
}

// counts is what is looked at before an exchange and after it.
type counts struct{ extProc, stats harness.Counters }

func (r *runner) counted(t *testing.T, x Exchange) (c counts, err error) {
	if c.extProc, err = r.stack.Envoy.Counters(t.Context()); err != nil {
		return c, err
	}
	if len(x.Want.Stats) > 0 {
		c.stats, err = r.stack.Envoy.Stats(t.Context(), slices.Collect(maps.Keys(x.Want.Stats))...)
	}
	return c, err
}

// send sends the request, as often as the case says at the same time, and goes away
// when it says so. It calls answered with each answer.
func (r *runner) send(t *testing.T, x Exchange, before harness.Counters, answered func()) ([]*seen, error) {
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
	return x.send(ctx, r.stack.Address(), r.authority, &received, answered)
}

// rehearse sends the request without a look at what becomes of it.
func (r *runner) rehearse(t *testing.T, x Exchange) {
	t.Helper()
	r.stack.Upstream.Answer(x.Upstream.answer())
	for range x.Rehearsals {
		if _, err := x.Request.send(harnesstest.Context(t), r.stack.Address(), r.authority, new(atomic.Int64)); err != nil {
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
func (r *runner) settled(t *testing.T, x Exchange, before counts, d *differences) error {
	var entries []harness.AccessLogEntry
	harnesstest.Eventually(t, func() error {
		log, err := r.stack.Envoy.AccessLog()
		if err == nil && len(log) < r.logged+x.times() {
			return fmt.Errorf("Envoy has %d entries in its access log, want %d more", len(log), x.times())
		}
		if err == nil {
			entries = log[r.logged : r.logged+x.times()]
		}
		return err
	})
	r.logged += x.times()
	for _, entry := range entries {
		if !slices.Contains(x.Want.Others, entry.Status) {
			x.Want.log(d, entry)
		}
	}
	if r.collector != nil {
		defer r.collector.done()
	}
	if err := harnesstest.Within(counting, func() error {
		// The upstream may learn later than Envoy that a request has broken off.
		var reached differences
		x.Want.upstream(&reached, r.stack.Upstream.Received(), x.times()-len(x.Want.Others))
		return reached.err()
	}); err != nil {
		d.add("%v", err)
	}
	return harnesstest.Within(counting, func() error {
		now, err := r.counted(t, x)
		if err != nil {
			return err
		}
		var counted differences
		x.Want.counters(&counted, now.extProc.Since(before.extProc))
		x.Want.stats(&counted, now.stats.Since(before.stats))
		if err := x.Want.admin(&counted, func(page string) ([]byte, error) { return r.stack.Envoy.Admin(t.Context(), page) }); err != nil {
			return err
		}
		if r.collector != nil {
			r.collector.compare(&counted, x.Want.Spans)
		}
		return counted.err()
	})
}

// releasing is how long an engine may take to let go of an exchange that is over. It
// is longer than any policy in the cases holds a call up.
const releasing = 20 * time.Second

// released waits until the engine, where there is one, has no stream left. None may
// have failed: whatever becomes of an exchange, no engine is to err about it.
func (r *runner) released(t *testing.T) error {
	if r.stack.Engine == nil {
		return nil
	}
	select {
	case <-r.stack.Engine.Ended():
		return nil
	default:
	}
	return harnesstest.Within(releasing, func() error {
		for _, name := range []string{"streams_open", "streams_failed_total", "panics_total"} {
			if n, err := r.stack.Engine.Metric(t.Context(), name); err != nil {
				return err
			} else if n != 0 {
				return fmt.Errorf("the engine's %s is %g after the exchange, want 0", name, n)
			}
		}
		return nil
	})
}

func (r *runner) prepare(t *testing.T, x Exchange) {
	t.Helper()
	switch x.First {
	case "kill the engine":
		r.stack.Engine.Kill()
	case "terminate the engine":
		r.stack.Engine.Terminate()
		<-r.stack.Engine.Ended()
	case "stop redis":
		r.redis.Kill()
	case "start redis":
		r.redis.Restart()
	case "start the engine":
		if err := r.stack.Engine.Start(harnesstest.Context(t), r.chains(x.Chains)); err != nil {
			t.Fatal(err)
		}
		return
	}
	if x.Chains.Kind() == strictyaml.Missing {
		return
	}
	if err := r.stack.Engine.SetChains(harnesstest.Context(t), r.chains(x.Chains)); err != nil {
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
