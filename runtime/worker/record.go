package worker

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
)

// maxNotes bounds the steps of one decision record: a long body has many chunks.
const maxNotes = 128

// records reports whether somebody reads what policies note beside their decisions.
func (r *run) records() bool {
	return r.decision != nil || r.callee != nil && r.callee.records
}

// note adds a step to the decision record, where somebody listens.
func (r *run) note(s *step, outcome telemetry.StepOutcome, a *Answer, changes, reason string) {
	d := r.decision
	if d == nil || len(d.Steps) >= maxNotes {
		return
	}
	v := s.instance.version
	d.Steps = append(d.Steps, telemetry.StepDecision{
		ID: s.id, Policy: v.Name, Version: v.Version, Phase: r.phase, Shadow: r.shadows(s),
		Condition: s.source, Outcome: outcome, At: a.At, Took: a.Took,
		Changes: changes, Reason: reason,
	})
	d.Took += a.Took
	if n := a.Noted; n != nil {
		last := &d.Steps[len(d.Steps)-1]
		last.Annotations, last.Spans, last.NotesDropped = n.Annotations, n.Spans, n.Dropped
	}
}

// noteCause adds what a policy says about its answer to its step, which was noted last
// if there was room for it.
func (r *run) noteCause(s *step, cause string) {
	d := r.decision
	if d == nil || cause == "" {
		return
	}
	last := &d.Steps[len(d.Steps)-1]
	if last.ID != s.id || last.Outcome != telemetry.Responded {
		return
	}
	last.Cause = telemetry.Clip(cause, telemetry.MaxName)
}

// blame says what led to an answer in the upstream's place.
type blame struct {
	// step is nil where no policy is to blame. phase is the one in which it ran.
	step  *step
	phase policy.Phase
	// cause is nil where a policy has decided so; said is what it says about that.
	cause error
	said  string

	status          int
	reason, details string
}

// deny notes that the engine answers the request itself.
func (r *run) deny(out Outcome) {
	r.answered = true
	b := &r.blame
	b.status, b.reason, b.details = out.Response.Status, out.Response.Reason, out.Details
}

// record hands the finished decision over, and has a refusal logged where it is its turn.
func (r *run) record(o *Options) {
	d := r.decision
	r.decision = nil
	var suppressed int64
	logs := false
	if r.answered && !r.shadow && r.blame.status >= http.StatusBadRequest {
		suppressed, logs = o.Refusals.Turn(r.blame.details, r.blame.step != nil, r.clock.now())
	}
	if d == nil && !logs {
		return
	}
	if d == nil {
		d = r.newDecision(o)
	}
	r.describe(d)
	if logs {
		o.Refusals.Write(d, suppressed)
	}
	if o.Recorder != nil {
		o.Recorder.Record(d)
	}
}

func (r *run) newDecision(o *Options) *telemetry.Decision {
	return &telemetry.Decision{
		Began: o.Host.Clock.Now().Add(-time.Duration(r.clock.now() - r.began)), Config: r.snapshot.version, Chain: r.chain.name,
	}
}

// describe fills the decision in, now that the exchange is over.
func (r *run) describe(d *telemetry.Decision) {
	req := &r.x.Request
	r.open()
	d.Describe(req.Method, req.Authority, req.Path, r.x.RequestID())
	d.Route = r.x.Route
	// Envoy tells its own span with the stream only where its tracing is on.
	if d.TraceParent, d.TraceState = r.x.TraceParent, r.x.TraceState; d.TraceParent == "" {
		d.TraceParent, _ = req.Headers.Get("traceparent")
		d.TraceState, _ = req.Headers.Get("tracestate")
	}
	if p := r.x.Principal; p != nil {
		d.Subject = telemetry.Clip(p.Subject, telemetry.MaxName)
	}
	if !r.answered {
		return
	}
	b := &r.blame
	d.Denied, d.Status, d.Reason, d.Details = true, b.status, b.reason, b.details
	d.Explain(b.cause)
	if b.cause == nil {
		d.Cause = telemetry.Clip(b.said, telemetry.MaxName)
	}
	if b.step != nil {
		d.By = telemetry.DecidedBy{ID: b.step.id, Policy: b.step.instance.version.String(), Phase: b.phase.String()}
	}
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

// failuresPerSecond bounds what one step writes to the log: a policy that fails on
// every request must not fill the disk.
const failuresPerSecond = 5

func (s *step) logFailure(r *run, reason Reason, err error) {
	suppressed, ok := s.failures.Allow(r.clock.now(), failuresPerSecond)
	if !ok {
		return
	}
	attrs := []slog.Attr{
		slog.String("reason", reason.String()), slog.String("route", r.x.Route),
		slog.String("phase", r.phase.String()), slog.String("mode", s.mode.String()),
		slog.String("error", telemetry.Clip(err.Error(), telemetry.MaxText)),
	}
	if p, ok := err.(*panicError); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int64("suppressed", suppressed))
	}
	s.instance.logger.LogAttrs(r.ctx, slog.LevelWarn, "policy could not decide", attrs...)
}
