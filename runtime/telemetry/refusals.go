package telemetry

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// RefusalLog writes a line for a request that was answered in the upstream's place, by
// a policy or by the engine itself. It writes whatever level the logger is set to, and
// a bounded number of lines: see [NewRefusalLog]. A nil *RefusalLog writes nothing. Safe
// for concurrent use.
type RefusalLog struct {
	handler   slog.Handler
	perReason int64
	perSecond int64
	seed      maphash.Seed
	// reasons has a bound for each details of policies; several may share one. own
	// has those of the engine, which no policy's can take.
	reasons, own [reasonSlots]Rate
	// policies bounds the lines about all policies together. The engine's own
	// reasons are few, and not to be crowded out.
	policies Rate
}

// reasonSlots is how many details are bounded each by itself. Those beyond share.
const reasonSlots = 1024

// NewRefusalLog returns a log that writes to logger's handler at most perReason lines
// a second for each policy and reason, and at most perSecond a second for all reasons of
// policies together. Each line says how many were left out since the last one of its
// reason.
func NewRefusalLog(logger *slog.Logger, perReason, perSecond int) *RefusalLog {
	return &RefusalLog{
		handler: logger.Handler(), perReason: int64(perReason), perSecond: int64(perSecond), seed: maphash.MakeSeed(),
	}
}

// Turn reports whether a refusal with these details gets a line, and how many did not
// since the last one. Only then is it worth making a [Decision] for [RefusalLog.Write].
// now is in nanoseconds of any clock that does not jump back.
func (l *RefusalLog) Turn(details string, byPolicy bool, now int64) (suppressed int64, ok bool) {
	if l == nil {
		return 0, false
	}
	slot := maphash.String(l.seed, details) % reasonSlots
	r := &l.own[slot]
	if byPolicy {
		r = &l.reasons[slot]
	}
	if !r.allow(now, l.perReason) {
		return 0, false
	}
	if byPolicy && !l.policies.allow(now, l.perSecond) {
		r.suppressed.Add(1)
		return 0, false
	}
	return r.suppressed.Swap(0), true
}

// Write writes the line. d is not kept.
func (l *RefusalLog) Write(d *Decision, suppressed int64) {
	level := slog.LevelInfo
	if d.Status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	record := slog.NewRecord(time.Now(), level, "request refused", 0)
	record.AddAttrs(slog.Int("status", d.Status), slog.String("reason", d.Reason), slog.String("details", d.Details))
	for _, a := range []struct{ name, value string }{
		{"cause", d.Cause}, {"kind", d.CauseKind}, {"policy", d.By.Policy}, {"id", d.By.ID}, {"phase", d.By.Phase},
		{"request_id", d.RequestID}, {"route", d.Route}, {"chain", d.Chain}, {"config", d.Config},
		{"method", d.Method}, {"authority", d.Authority}, {"path", d.Path}, {"subject", d.Subject},
	} {
		if a.value != "" {
			record.AddAttrs(slog.String(a.name, a.value))
		}
	}
	if suppressed > 0 {
		record.AddAttrs(slog.Int64("suppressed", suppressed))
	}
	// The log is of its own, whatever level the others have. There is nobody to
	// tell that a line cannot be written.
	_ = l.handler.Handle(context.Background(), record)
}

// Rate bounds how often something is done. The zero value is ready. Safe for concurrent
// use: around the turn of a second some more may get through, or fewer.
type Rate struct {
	second, count, suppressed atomic.Int64
}

func (r *Rate) allow(now, perSecond int64) bool {
	sec := now / int64(time.Second)
	if old := r.second.Load(); old != sec && r.second.CompareAndSwap(old, sec) {
		r.count.Store(0)
	}
	if r.count.Add(1) > perSecond {
		r.suppressed.Add(1)
		return false
	}
	return true
}

// Allow reports whether it may be done once more, perSecond times a second at most, and
// how often it was not since the last time.
func (r *Rate) Allow(now, perSecond int64) (suppressed int64, ok bool) {
	if !r.allow(now, perSecond) {
		return 0, false
	}
	return r.suppressed.Swap(0), true
}

// The bounds on what a client words, in bytes, in decisions and logs.
const (
	MaxMethod, MaxID = 32, 128
	MaxPath, MaxText = 1024, 1024
	MaxName          = 256
	ellipsis         = "…"
)

// Clip is s, cut to at most max bytes, with an ellipsis where something was cut off.
func Clip(s string, max int) string {
	if len(s) <= max {
		return s
	}
	end := max - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.Clone(s[:end]) + ellipsis
}

// Explain fills in why the engine answered by itself. A nil cause is a policy's decision.
func (d *Decision) Explain(cause error) {
	if cause == nil {
		return
	}
	d.Cause = Clip(cause.Error(), MaxText)
	if k, ok := cause.(interface{ Kind() Cause }); ok {
		d.CauseKind = k.Kind().String()
	}
}

// Describe fills in what identifies the request, bounded, and without what may be
// secret: the query, and a password in the authority.
func (d *Decision) Describe(method, authority, path, requestID string) {
	d.Method = Clip(method, MaxMethod)
	// In front of an @ there may be a password.
	d.Authority = Clip(authority[strings.LastIndexByte(authority, '@')+1:], MaxName)
	path, _, _ = strings.Cut(path, "?")
	d.Path = Clip(path, MaxPath)
	d.RequestID = Clip(requestID, MaxID)
}
