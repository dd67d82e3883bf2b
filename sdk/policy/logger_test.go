package policy_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

type source struct{ value string }

func (s source) Value() (string, error) { return s.value, nil }

// TestLogger proves that lines about an exchange say which it is, in whatever group they
// stand, and that no secret is shown, by its type.
func TestLogger(t *testing.T) {
	x := &exchange.Exchange{Route: "charge"}
	x.SetRequestID("id-1")
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			call := &exchange.Call{Place: &exchange.Place{Log: handler(&out)}, Phase: "response_body"}
			resp := policy.NewResponseContext(x, false).WithCall(call)
			secret := policy.InlineSecret("hunter2")
			secrets := []any{
				"secret", secret, "pointer", &secret, "source", source{"hunter2"}, "header", http.Header{"Authorization": {"hunter2"}}, "bytes", []byte("hunter2"),
				slog.Group("g", slog.Any("inner", source{"hunter2"})), "mutation", &policy.RequestMutation{Path: "/hunter2"}, "struct", struct{ S policy.Secret }{secret},
			}
			l := resp.Logger()
			l.Info("plain", secrets...)
			l.With(secrets...).WithGroup("group").Warn("grouped", secrets...)
			l.Debug("off")
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) != 2 || strings.Contains(out.String(), "hunter2") {
				t.Fatalf("the log is\n%s", out.String())
			}
			for _, line := range lines {
				for _, want := range []string{"route", "charge", "request_id", "id-1", "phase", "response_body"} {
					if !strings.Contains(line, want) {
						t.Errorf("%q is not in %s", want, line)
					}
				}
				if strings.Contains(line, "group.route") || strings.Count(line, "id-1") != 1 {
					t.Errorf("what identifies the exchange is in the group, or there twice: %s", line)
				}
			}
		})
	}
}
