package policy

import (
	"context"
	"log/slog"
	"net/http"
	"slices"

	"policyengine.dev/sdk/exchange"
)

// Logger returns a logger for this exchange. Its lines have the chain, policy, version and
// id of the step, like those of [Host.Logger], and the route, the request ID and the phase.
// The runtime limits the lines per second of a step; the next line has the number of lines
// left out. Secrets of the parameters are removed from texts. Values of the types [Secret],
// [SecretSource], net/http's Header and bytes are not logged. Data from the client appears
// only if the policy converts it to a string. Use the log for what operators must know at
// once, and [RequestContext.Annotate] for what explains a decision.
//
// It allocates, so call it only when there is something to log. The result may be kept.
func (c RequestContext) Logger() *slog.Logger { return c.view().logger() }

// Logger is as [RequestContext.Logger].
func (c *ResponseContext) Logger() *slog.Logger { return c.view().logger() }

func (v view) logger() *slog.Logger {
	if v.call == nil || v.call.Place == nil || v.call.Place.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(exchangeHandler{next: v.call.Place.Log, route: v.x.Route, request: v.x.RequestID(), phase: v.call.Phase})
}

// exchangeHandler adds what identifies an exchange to each line.
type exchangeHandler struct {
	next                  slog.Handler
	route, request, phase string
	grouped               bool
}

func (h exchangeHandler) attrs() []slog.Attr {
	return []slog.Attr{slog.String("route", h.route), slog.String("request_id", h.request), slog.String("phase", h.phase)}
}

// Enabled implements slog.Handler.
func (h exchangeHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h exchangeHandler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	if !h.grouped {
		clean.AddAttrs(h.attrs()...)
	}
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(redact(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h exchangeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := slices.Clone(attrs)
	for i := range clean {
		clean[i] = redact(clean[i])
	}
	h.next = h.next.WithAttrs(clean)
	return h
}

// WithGroup implements slog.Handler.
func (h exchangeHandler) WithGroup(name string) slog.Handler {
	if !h.grouped {
		// Not into the group.
		h.next, h.grouped = h.next.WithAttrs(h.attrs()), true
	}
	h.next = h.next.WithGroup(name)
	return h
}

// redact takes out values whose type says that they may hold a secret.
func redact(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindGroup:
		group := slices.Clone(a.Value.Group())
		for i := range group {
			group[i] = redact(group[i])
		}
		a.Value = slog.GroupValue(group...)
	case slog.KindAny:
		switch a.Value.Any().(type) {
		case SecretSource, []byte, http.Header, *http.Request, *http.Response, *Principal, Principal, Headers, []Header, Header,
			RequestContext, *RequestContext, *ResponseContext, *RequestMutation, *ResponseMutation, *ImmediateResponse:
			a.Value = slog.StringValue(exchange.Redacted)
		}
	}
	return a
}
