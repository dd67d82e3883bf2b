package worker

import (
	"context"
	"io"
	"log/slog"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/exchange"
)

// prepare sets what the step's call has beside the exchange.
func (r *run) prepare(s *step) {
	c := &r.beside
	c.Place, c.Phase, c.Records, c.State = s.place, r.phase.String(), r.records(), nil
	if s.index < len(r.states) {
		c.State = r.states[s.index]
	}
}

// keepState keeps what the policy has left for its later calls.
func (r *run) keepState(s *step) {
	if r.beside.State == nil {
		return
	}
	if n := len(r.chain.steps); len(r.states) < n {
		r.states = append(r.states, make([]any, n-len(r.states))...)
	}
	r.states[s.index] = r.beside.State
}

// loseState forgets what the policy has kept: a call that has not returned may still be
// writing to it.
func (r *run) loseState(s *step) {
	if s.index < len(r.states) {
		r.states[s.index] = nil
	}
}

// newIdentity is the key of the ids that the worker makes for requests without one, or nil
// if there is no source of random bytes.
func newIdentity(random io.Reader) *[16]byte {
	if random == nil {
		return nil
	}
	key := new([16]byte)
	if _, err := io.ReadFull(random, key[:]); err != nil {
		return nil
	}
	return key
}

// placeOf is what the policy's calls at the step are told about it.
func (b *chainBuilder) placeOf(s *step) *exchange.Place {
	in, host := s.instance, &b.worker.options.Host
	p := &exchange.Place{
		Chain: b.chain.name, ID: s.id, Policy: in.version.Name, Version: in.version.Version,
		Log:    stepLog{in.logger.Handler(), new([2]telemetry.Rate), b.worker.clock},
		Random: host.Random, Scrub: in.scrub.text,
	}
	if host.Clock != nil {
		p.Now = host.Clock.Now
	}
	return p
}

// linesPerSecond bounds what a policy writes to the log about exchanges at one step, for
// warnings and errors, and for lower levels.
const linesPerSecond = 20

// stepLog bounds what a policy writes to the log about exchanges.
type stepLog struct {
	slog.Handler
	// rates are those of lower levels, and of warnings and errors.
	rates *[2]telemetry.Rate
	clock *clock
}

// Handle implements slog.Handler.
func (l stepLog) Handle(ctx context.Context, r slog.Record) error {
	rate := &l.rates[0]
	if r.Level >= slog.LevelWarn {
		rate = &l.rates[1]
	}
	suppressed, ok := rate.Allow(l.clock.now(), linesPerSecond)
	if !ok {
		return nil
	}
	if suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int64("suppressed", suppressed))
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l stepLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	l.Handler = l.Handler.WithAttrs(attrs)
	return l
}

// WithGroup implements slog.Handler.
func (l stepLog) WithGroup(name string) slog.Handler {
	l.Handler = l.Handler.WithGroup(name)
	return l
}
