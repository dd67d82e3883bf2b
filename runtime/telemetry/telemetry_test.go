package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
)

func TestLatency(t *testing.T) {
	var l telemetry.Latency
	for _, d := range []time.Duration{0, 10 * time.Microsecond, 11 * time.Microsecond, time.Second, time.Minute} {
		l.Observe(d)
	}
	count, sum, cumulative := l.Read()
	if count != 5 || sum != 61*time.Second+21*time.Microsecond {
		t.Errorf("count %d, sum %v", count, sum)
	}
	if last := cumulative[len(cumulative)-1]; cumulative[0] != 2 || cumulative[1] != 3 || last != 4 {
		t.Errorf("buckets %v: bounds are inclusive, and what is over the last is in the count alone", cumulative)
	}
}

func TestObservingAllocatesNothing(t *testing.T) {
	var s telemetry.Step
	var route telemetry.Route
	var streams telemetry.Streams
	streams.Responded("policy_engine.p@v1.NO")
	if n := testing.AllocsPerRun(100, func() { route.Observe(telemetry.RequestAnswered); streams.Responded("policy_engine.p@v1.NO") }); n != 0 {
		t.Errorf("%v allocations for a request", n)
	}
	if n := testing.AllocsPerRun(100, func() { s.Observe(policy.RequestHeaders, telemetry.Mutated, time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func responses(s *telemetry.Streams) map[string]uint64 {
	counts := map[string]uint64{}
	for details, n := range s.Responses {
		counts[details] = n
	}
	return counts
}

// TestStreamsAreBounded proves that a policy that makes up reasons can neither fill the
// memory nor take the room of others, from several goroutines at once.
func TestStreamsAreBounded(t *testing.T) {
	var s telemetry.Streams
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 3000 {
				s.Responded("policy_engine.p@v1.0.0.MADE_UP_" + strconv.Itoa(i))
			}
		})
	}
	all.Wait()
	s.Responded("policy_engine.other@v1.0.0.NO")
	counts := responses(&s)
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	if len(counts) != 102 || total != 12001 || counts["policy_engine.p@v1.0.0.other"] != 12000-4*100 || counts["policy_engine.other@v1.0.0.NO"] != 1 {
		t.Errorf("%d details, %d answers, %d others", len(counts), total, counts["policy_engine.p@v1.0.0.other"])
	}
	for i := range 3000 {
		s.Responded("policy_engine.p" + strconv.Itoa(i) + "@v1.0.0.NO")
	}
	if counts := responses(&s); len(counts) != 2001 || counts[telemetry.OtherDetails] == 0 {
		t.Errorf("%d details of many policies, %d others", len(counts), counts[telemetry.OtherDetails])
	}
}

// TestKeepResponses proves that the details of policies that are gone make room for
// those of others.
func TestKeepResponses(t *testing.T) {
	var s telemetry.Streams
	for i := range 200 {
		s.Responded("policy_engine.gone@v1.0.0.MADE_UP_" + strconv.Itoa(i))
	}
	s.Responded("policy_engine.stays@v1.0.0.NO")
	s.Responded("policy_engine.ROUTE_UNKNOWN")
	s.KeepResponses(func(policy string) bool { return policy != "policy_engine.gone@v1.0.0." })
	if counts := responses(&s); len(counts) != 2 || counts["policy_engine.ROUTE_UNKNOWN"] != 1 || counts["policy_engine.stays@v1.0.0.NO"] != 1 {
		t.Errorf("%v", counts)
	}
	s.Responded("policy_engine.gone@v1.0.0.BACK")
	if counts := responses(&s); counts["policy_engine.gone@v1.0.0.BACK"] != 1 {
		t.Errorf("%v", counts)
	}
}

type collected []*telemetry.Decision

func (c *collected) Record(d *telemetry.Decision) { *c = append(*c, d) }

func TestRecorders(t *testing.T) {
	if telemetry.Recorders() != nil {
		t.Error("no recorder is not nil, so that decisions would be recorded for nobody")
	}
	var a, b collected
	telemetry.Recorders(&a, &b).Record(&telemetry.Decision{})
	if len(a) != 1 || len(b) != 1 {
		t.Error("a recorder was left out")
	}
}

func TestDecisionLog(t *testing.T) {
	passed := &telemetry.Decision{Route: "r", Steps: []telemetry.StepDecision{{ID: "a", Outcome: telemetry.Passed}}}
	failed := &telemetry.Decision{Route: "r", Steps: []telemetry.StepDecision{{ID: "a", Policy: "p", Version: "v1", Outcome: telemetry.TimedOut, Reason: "POLICY_TIMEOUT"}}}
	denied := &telemetry.Decision{Route: "r", Denied: true, Status: 401, Reason: "KEY_MISSING", RequestID: "id"}
	for name, tc := range map[string]struct {
		all  bool
		d    *telemetry.Decision
		want bool
	}{
		"passed": {false, passed, false}, "failed": {false, failed, true}, "denied": {false, denied, true}, "all": {true, passed, true},
	} {
		var b bytes.Buffer
		telemetry.DecisionLog{Logger: slog.New(slog.NewJSONHandler(&b, nil)), All: tc.all}.Record(tc.d)
		if got := b.Len() > 0; got != tc.want {
			t.Errorf("%s: logged is %v", name, got)
		}
	}
	var b bytes.Buffer
	telemetry.DecisionLog{Logger: slog.New(slog.NewJSONHandler(&b, nil))}.Record(failed)
	var line struct {
		Steps map[string]struct{ Policy, Outcome, Reason string }
	}
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if s := line.Steps["a/request_headers"]; s.Policy != "p@v1" || s.Outcome != "timeout" || s.Reason != "POLICY_TIMEOUT" {
		t.Errorf("line %s", b.String())
	}
}
