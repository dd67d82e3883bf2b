package worker

import (
	"context"
	"log/slog"
)

// PolicyLogger returns the logger of one policy in one chain. Without chain and id it is
// that of what several instances of the policy share.
func PolicyLogger(to *slog.Logger, chain, id string, v *Version) *slog.Logger {
	return slog.New(&placeHandler{to.Handler(), chain, id, v})
}

// placeHandler adds the place of a policy to what is logged. It does so when something is: most instances never log,
// and slog's own handlers would keep the text for each.
type placeHandler struct {
	to        slog.Handler
	chain, id string
	version   *Version
}

// Enabled implements slog.Handler.
func (h *placeHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.to.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *placeHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.placed().Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *placeHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.placed().WithAttrs(attrs) }

// WithGroup implements slog.Handler.
func (h *placeHandler) WithGroup(name string) slog.Handler { return h.placed().WithGroup(name) }

// placed is the handler that has the place.
func (h *placeHandler) placed() slog.Handler {
	policy := slog.String("policy", h.version.String())
	if h.chain == "" && h.id == "" {
		return h.to.WithAttrs([]slog.Attr{policy})
	}
	return h.to.WithAttrs([]slog.Attr{slog.String("chain", h.chain), policy, slog.String("id", h.id)})
}
