package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"policyengine.dev/runtime/telemetry"
)

const second = int64(time.Second)

// TestRefusalsAreBounded proves that each reason gets its lines a second, that all
// policies together have a bound, and that the engine's own reasons are not crowded out.
func TestRefusalsAreBounded(t *testing.T) {
	l := telemetry.NewRefusalLog(slog.New(slog.DiscardHandler), 2, 5)
	turns := func(details string, byPolicy bool, now int64, times int) (n int, suppressed int64) {
		for range times {
			if s, ok := l.Turn(details, byPolicy, now); ok {
				n, suppressed = n+1, suppressed+s
			}
		}
		return n, suppressed
	}
	if n, _ := turns("policy_engine.p@v1.0.0.NO", true, second, 100); n != 2 {
		t.Errorf("one reason got %d lines in a second, want 2", n)
	}
	if n, suppressed := turns("policy_engine.p@v1.0.0.NO", true, 2*second, 1); n != 1 || suppressed != 98 {
		t.Errorf("a second later there are %d lines, with %d suppressed, want 1 with 98", n, suppressed)
	}
	all := 0
	for i := range 200 {
		n, _ := turns("policy_engine.p@v1.0.0.MADE_UP_"+strconv.Itoa(i), true, 3*second, 1)
		all += n
	}
	if all != 5 {
		t.Errorf("200 reasons of policies got %d lines in a second, want 5", all)
	}
	if n, _ := turns("policy_engine.FILTER_CANNOT_SERVE_CHAIN", false, 3*second, 10); n != 2 {
		t.Errorf("beside them one of the engine's own got %d lines, want 2", n)
	}
}

// TestRefusalsHaveALogOfTheirOwn proves that a line is written whatever the level is, that
// the operator's faults are warnings, and that what a client words is bounded and escaped.
func TestRefusalsHaveALogOfTheirOwn(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		level  string
	}{"a client's fault": {431, "INFO"}, "the operator's": {500, "WARN"}} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			l := telemetry.NewRefusalLog(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelError})), 1, 1)
			d := &telemetry.Decision{Status: tt.status, Reason: "R", Details: "policy_engine.R", Route: "r"}
			d.Describe("GET", "user:password@host", "/a\n{\"forged\":1}"+strings.Repeat("ü", 100_000)+"?token=secret", strings.Repeat("i", 1000))
			d.Explain(&kinded{strings.Repeat("c", 100_000)})
			l.Write(d, 3)
			line := out.String()
			if strings.Count(line, "\n") != 1 || len(line) > 4<<10 || strings.Contains(line, "secret") || strings.Contains(line, "password") {
				t.Errorf("the line, of %d bytes, is %q", len(line), line)
			}
			var got map[string]any
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			for field, want := range map[string]any{
				"msg": "request refused", "level": tt.level, "status": float64(tt.status), "reason": "R", "kind": "tunnel", "route": "r", "authority": "host", "suppressed": 3.0,
			} {
				if got[field] != want {
					t.Errorf("%s is %v, want %v", field, got[field], want)
				}
			}
			if id := got["request_id"].(string); len(id) != telemetry.MaxID || !strings.HasSuffix(id, "…") {
				t.Errorf("the request id is %q", id)
			}
		})
	}
}

type kinded struct{ text string }

func (k *kinded) Error() string         { return k.text }
func (k *kinded) Kind() telemetry.Cause { return telemetry.Tunnel }

// TestRefusalsThatAreNotLoggedAllocateNothing proves that a flood of refusals costs no
// memory, and none is needed where nobody wants the log.
func TestRefusalsThatAreNotLoggedAllocateNothing(t *testing.T) {
	l := telemetry.NewRefusalLog(slog.New(slog.DiscardHandler), 1, 1)
	var off *telemetry.RefusalLog
	if _, ok := off.Turn("d", true, second); ok {
		t.Error("a log that is off has turns")
	}
	l.Turn("d", true, second)
	if n := testing.AllocsPerRun(100, func() { l.Turn("d", true, second); off.Turn("d", true, second) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestEveryCauseHasAName proves that no two causes are counted as one.
func TestEveryCauseHasAName(t *testing.T) {
	seen := map[string]bool{}
	for c := range telemetry.Cause(telemetry.CauseCount) {
		if name := c.String(); name == "" || name == "unknown" || seen[name] {
			t.Errorf("cause %d is called %q", c, name)
		} else {
			seen[name] = true
		}
	}
}

// TestClipKeepsRunes proves that a text is not cut in the midst of a rune.
func TestClipKeepsRunes(t *testing.T) {
	for s, want := range map[string]string{"short": "short", "exactly-10": "exactly-10", "üüüüüüü": "üüü…", "eleven-long": "eleven-…"} {
		if got := telemetry.Clip(s, 10); got != want {
			t.Errorf("%q became %q, want %q", s, got, want)
		}
	}
}
