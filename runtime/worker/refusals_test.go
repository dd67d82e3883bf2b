package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

type testCause struct{}

func (testCause) Error() string         { return "a cause of the kernel's" }
func (testCause) Kind() telemetry.Cause { return telemetry.PartNotShown }

// TestRefusalsAreLogged proves that every answer of 400 or more has a line with the
// policy that is to blame, or with the cause where none is, without decision records; and
// that nothing else has.
func TestRefusalsAreLogged(t *testing.T) {
	answers := func(status int) *script {
		return onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
			return &policy.ImmediateResponse{Status: status, Reason: "SO"}, nil
		})
	}
	fails := onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
		return nil, errors.New("the backend is down" + strings.Repeat(" very", 10_000))
	})
	shadow := func(ps *worker.PolicySpec) { ps.Mode = worker.Shadow }
	for name, tt := range map[string]struct {
		script *script
		change func(*worker.PolicySpec)
		kernel bool
		want   map[string]string
	}{
		"a policy's decision":             {script: answers(403), want: map[string]string{"level": "INFO", "reason": "SO", "phase": "request_headers", "request_id": "id-1", "route": "r", "chain": "c"}},
		"a policy that could not decide":  {script: fails, want: map[string]string{"level": "WARN", "reason": "POLICY_ERROR", "phase": "request_headers", "request_id": "id-1"}},
		"the kernel's":                    {script: answers(403), kernel: true, want: map[string]string{"level": "INFO", "reason": "BODY_TOO_LARGE", "cause": "a cause of the kernel's", "kind": "part_not_shown", "request_id": "id-1"}},
		"an answer that is no refusal":    {script: answers(302)},
		"a policy on trial":               {script: answers(403), change: shadow},
		"a request that passes":           {script: setHeader("x-a", "1")},
		"a failure that may be passed by": {script: fails, change: func(ps *worker.PolicySpec) { ps.OnError = worker.ContinueOnError }},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			h := newHarnessWith(t, worker.Options{
				Refusals: telemetry.NewRefusalLog(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})), 10, 10),
			})
			ps := h.use(tt.script)
			if tt.change != nil {
				tt.change(&ps)
			}
			c := h.load(ps)
			x := begin(c)
			x.Exchange().Request.Headers.Set("x-request-id", "id-1")
			if tt.kernel {
				x.Reject(context.Background(), worker.Refusal{Reason: worker.BodyTooLarge, Cause: testCause{}}, time.Second, noResume{t})
			} else {
				x.Run(context.Background(), policy.RequestHeaders, time.Second, noResume{t})
			}
			x.End(false)
			if tt.want == nil {
				if log.Len() > 0 {
					t.Errorf("there is a line: %s", &log)
				}
				return
			}
			var got map[string]any
			if err := json.Unmarshal(log.Bytes(), &got); err != nil {
				t.Fatalf("%v: %s", err, &log)
			}
			for field, want := range tt.want {
				if got[field] != want {
					t.Errorf("%s is %v, want %s", field, got[field], want)
				}
			}
			if tt.kernel == (got["policy"] != nil) {
				t.Errorf("the policy to blame is %v", got["policy"])
			}
			if log.Len() > 4<<10 {
				t.Errorf("the line has %d bytes", log.Len())
			}
			if n := len(h.log.String()); n > 4<<10 {
				t.Errorf("other lines have %d bytes", n)
			}
		})
	}
}
