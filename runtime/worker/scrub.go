package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// scrubber keeps a policy's secrets out of texts that others read: its errors and its
// log. A policy's errors often hold the address that it could not reach, and with it a
// credential in the query. The nil scrubber changes nothing.
type scrubber strings.Replacer

const scrubbed = "[redacted]"

// newScrubber returns the scrubber for a policy with these parameters.
func newScrubber(v *Version, params []byte) *scrubber {
	marked, inURLs := v.Definition.Secrets(params)
	var pairs []string
	for _, secret := range append(marked, inURLs...) {
		pairs = append(pairs, secret, scrubbed)
	}
	if len(pairs) == 0 {
		return nil
	}
	return (*scrubber)(strings.NewReplacer(pairs...))
}

func (s *scrubber) text(text string) string {
	if s == nil {
		return text
	}
	return (*strings.Replacer)(s).Replace(text)
}

// error returns err, or where it tells a secret an error with the rest of its text.
func (s *scrubber) error(err error) error {
	if s == nil || err == nil {
		return err
	}
	text := fmt.Sprint(err) // which contains a panic of Error
	if clean := s.text(text); clean != text {
		return errors.New(clean)
	}
	return err
}

// logger returns a logger that scrubs what is logged.
func (s *scrubber) logger(to *slog.Logger) *slog.Logger {
	if s == nil {
		return to
	}
	return slog.New(scrubbingHandler{to.Handler(), s})
}

// scrubbingHandler is the slog.Handler of a scrubber.
type scrubbingHandler struct {
	slog.Handler
	scrubber *scrubber
}

// Handle implements slog.Handler.
func (h scrubbingHandler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.scrubber.text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h scrubbingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return scrubbingHandler{h.Handler.WithAttrs(clean), h.scrubber}
}

// WithGroup implements slog.Handler.
func (h scrubbingHandler) WithGroup(name string) slog.Handler {
	return scrubbingHandler{h.Handler.WithGroup(name), h.scrubber}
}

func (h scrubbingHandler) attr(a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(h.scrubber.text(v.String()))
	case slog.KindGroup:
		var clean []slog.Attr
		for _, inner := range v.Group() {
			clean = append(clean, h.attr(inner))
		}
		a.Value = slog.GroupValue(clean...)
	case slog.KindAny:
		// However the handler below would write it, this is its text.
		if text := v.String(); h.scrubber.text(text) != text {
			a.Value = slog.StringValue(h.scrubber.text(text))
		}
	}
	return a
}
