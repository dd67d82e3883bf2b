package policy

import (
	"context"
	"log/slog"
	"net/http"
	"slices"

	"policyengine.dev/sdk/exchange"
)

// Logger returns a logger for this exchange. Its lines carry chain, policy, version and id
// of the step, as those of [Host.Logger] do, and the route, the request's id and the phase.
// The runtime bounds how many lines a second a step writes, and says on the next line how
// many it left out. Secrets of the parameters are taken out of texts. Values that are a
// [SecretSource], headers of net/http or bytes are not shown, nor is a [Secret]: what a
// client has sent is only shown if the policy makes a string of it. Log what an operator
// needs to know at once; what explains a decision belongs into [RequestContext.Annotate].
//
// It allocates, so that a policy which logs at a level that is off asks for it no more often
// than it must. It may be kept.
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
