package worker

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
)

// maxNotes bounds the steps of one decision record: a long body has many chunks.
const maxNotes = 128

// note adds a step to the decision record, where somebody listens.
func (r *run) note(s *step, outcome telemetry.StepOutcome, took time.Duration, changes, reason string) {
	d := r.decision
	if d == nil || len(d.Steps) >= maxNotes {
		return
	}
	v := s.instance.version
	d.Steps = append(d.Steps, telemetry.StepDecision{
		ID: s.id, Policy: v.Name, Version: v.Version, Phase: r.phase, Shadow: r.shadows(s),
		Condition: s.source, Outcome: outcome, At: time.Duration(nanotime()-r.began) - took, Took: took,
		Changes: changes, Reason: reason,
	})
	d.Took += took
}

// deny notes that the engine answers the request itself.
func (r *run) deny(out Outcome) {
	r.answered = true
	if d := r.decision; d != nil {
		d.Denied, d.Status, d.Details = true, out.Response.Status, out.Details
		d.Reason = out.Response.Reason
	}
}

// record hands the finished decision over.
func (r *run) record(to telemetry.Recorder) {
	d := r.decision
	r.decision = nil
	req := &r.x.Request
	d.Route, d.Method, d.Authority = r.x.Route, req.Method, req.Authority
	// In front of an @ there may be a password.
	d.Authority = d.Authority[strings.LastIndexByte(d.Authority, '@')+1:]
	d.Path, _, _ = strings.Cut(req.Path, "?")
	d.RequestID, _ = req.Headers.Get("x-request-id")
	// Envoy tells its own span with the stream only where its tracing is on.
	if d.TraceParent, d.TraceState = r.x.TraceParent, r.x.TraceState; d.TraceParent == "" {
		d.TraceParent, _ = req.Headers.Get("traceparent")
		d.TraceState, _ = req.Headers.Get("tracestate")
	}
	if p := r.x.Principal; p != nil {
		d.Subject = p.Subject
	}
	to.Record(d)
}

func summariseRequest(m *policy.RequestMutation) string {
	var b strings.Builder
	summariseHeaders(&b, "", &m.Headers)
	summariseHeaders(&b, "trailer ", &m.Trailers)
	part := func(changed bool, what string) {
		if changed {
			add(&b, what, "")
		}
	}
	part(m.Method != "", "method")
	part(m.Authority != "", "authority")
	part(m.Path != "", "path")
	part(!m.Query.IsZero(), "query")
	_, body := m.Body.Bytes()
	part(body, "body")
	part(m.Principal != nil, "principal")
	summariseEntries(&b, "metadata ", m.Metadata)
	summariseEntries(&b, "dynamic metadata ", m.DynamicMetadata)
	return b.String()
}

func summariseResponse(m *policy.ResponseMutation) string {
	var b strings.Builder
	summariseHeaders(&b, "", &m.Headers)
	summariseHeaders(&b, "trailer ", &m.Trailers)
	if m.Status != 0 {
		add(&b, "status", "")
	}
	if _, body := m.Body.Bytes(); body {
		add(&b, "body", "")
	}
	summariseEntries(&b, "metadata ", m.Metadata)
	summariseEntries(&b, "dynamic metadata ", m.DynamicMetadata)
	return b.String()
}

func summariseHeaders(b *strings.Builder, kind string, m *policy.HeaderMutation) {
	for _, name := range m.Remove {
		add(b, "remove "+kind, name)
	}
	for _, part := range []struct {
		verb   string
		fields []policy.Header
	}{{"set ", m.Set}, {"overwrite ", m.OverwriteIfExists}, {"append ", m.Append}, {"add ", m.AddIfAbsent}} {
		for _, h := range part.fields {
			add(b, part.verb+kind, h.Name)
		}
	}
}

func summariseEntries(b *strings.Builder, kind string, entries []policy.Entry) {
	for _, e := range entries {
		add(b, kind, e.Key)
	}
}

func add(b *strings.Builder, what, name string) {
	if b.Len() > 0 {
		b.WriteString(", ")
	}
	b.WriteString(what)
	b.WriteString(name)
}

// failureLog bounds what one step writes to the log: a policy that fails on every
// request must not fill the disk.
type failureLog struct {
	second     atomic.Int64
	count      atomic.Int64
	suppressed atomic.Int64
}

const failuresPerSecond = 5

// allow reports whether one more line may be written, and how many were not.
func (l *failureLog) allow(now int64) (ok bool, suppressed int64) {
	sec := now / int64(time.Second)
	if old := l.second.Load(); old != sec && l.second.CompareAndSwap(old, sec) {
		l.count.Store(0)
	}
	if l.count.Add(1) > failuresPerSecond {
		l.suppressed.Add(1)
		return false, 0
	}
	return true, l.suppressed.Swap(0)
}

func (s *step) logFailure(r *run, reason Reason, err error) {
	ok, suppressed := s.failures.allow(nanotime())
	if !ok {
		return
	}
	attrs := []slog.Attr{
		slog.String("reason", reason.String()), slog.String("route", r.x.Route),
		slog.String("phase", r.phase.String()), slog.String("mode", s.mode.String()),
		slog.Any("error", err),
	}
	if p, ok := err.(*panicError); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int64("suppressed", suppressed))
	}
	s.instance.host.Logger.LogAttrs(r.ctx, slog.LevelWarn, "policy could not decide", attrs...)
}
