package telemetry

import (
	"context"
	"log/slog"
	"time"
)

// Recorders hands each decision to all of rs, which must not modify it. It returns nil
// where there are none, so that no decision is recorded at all.
func Recorders(rs ...Recorder) Recorder {
	switch len(rs) {
	case 0:
		return nil
	case 1:
		return rs[0]
	}
	return fanOut(rs)
}

type fanOut []Recorder

// Record implements [Recorder].
func (f fanOut) Record(d *Decision) {
	for _, r := range f {
		r.Record(d)
	}
}

// DecisionLog writes decisions to a log, a line each.
type DecisionLog struct {
	// Logger is where to.
	Logger *slog.Logger
	// All writes every decision; otherwise only those by which the engine
	// answered a request itself, or in which a step failed.
	All bool
}

// Record implements [Recorder].
func (l DecisionLog) Record(d *Decision) {
	if !l.All && !d.Denied && !failed(d) {
		return
	}
	steps := make([]slog.Attr, 0, len(d.Steps))
	for i := range d.Steps {
		s := &d.Steps[i]
		attrs := []any{
			slog.String("policy", s.Policy+"@"+s.Version), slog.String("phase", s.Phase.String()),
			slog.String("outcome", s.Outcome.String()), slog.Duration("took", s.Took.Round(time.Microsecond)),
		}
		if s.Shadow {
			attrs = append(attrs, slog.Bool("shadow", true))
		}
		if s.Changes != "" {
			attrs = append(attrs, slog.String("changes", s.Changes))
		}
		if s.Reason != "" {
			attrs = append(attrs, slog.String("reason", s.Reason))
		}
		if s.Cause != "" {
			attrs = append(attrs, slog.String("cause", s.Cause))
		}
		if s.SkippedBy != "" {
			attrs = append(attrs, slog.String("skipped_by", s.SkippedBy))
		}
		if len(s.Annotations) > 0 {
			attrs = append(attrs, slog.GroupAttrs("annotations", s.Annotations...))
		}
		if s.NotesDropped > 0 {
			attrs = append(attrs, slog.Int("notes_dropped", s.NotesDropped))
		}
		steps = append(steps, slog.Group(s.ID+"/"+s.Phase.String(), attrs...))
	}
	attrs := []slog.Attr{
		slog.String("route", d.Route), slog.String("chain", d.Chain), slog.String("config", d.Config),
		slog.String("method", d.Method), slog.String("authority", d.Authority), slog.String("path", d.Path),
		slog.Bool("denied", d.Denied), slog.Duration("took", d.Took.Round(time.Microsecond)),
		slog.GroupAttrs("steps", steps...),
	}
	for name, value := range map[string]string{"request_id": d.RequestID, "subject": d.Subject, "reason": d.Reason, "details": d.Details, "cause": d.Cause, "kind": d.CauseKind} {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	if d.Denied {
		attrs = append(attrs, slog.Int("status", d.Status))
	}
	l.Logger.LogAttrs(context.Background(), slog.LevelInfo, "decision", attrs...)
}

func failed(d *Decision) bool {
	for i := range d.Steps {
		switch d.Steps[i].Outcome {
		case Errored, TimedOut, Panicked, Stalled:
			return true
		}
	}
	return false
}
