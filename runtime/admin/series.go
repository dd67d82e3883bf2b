package admin

import (
	"bufio"
	"strconv"
	"strings"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// writeSeries writes what was counted of routes and steps. A series is there once something was counted in it, so that
// the page grows with what was used and not with the configuration.
func (o *Options) writeSeries(w *seriesWriter) {
	s := o.Worker.Acquire()
	if s == nil {
		return
	}
	defer s.Release()
	w.family("requests_total", "counter", "Requests on routes that have a chain, by result: passed, answered in the upstream's place, or canceled, which is over before the chain was done.")
	for route, chain := range s.Routes {
		counts := s.Requests(route)
		for result := range telemetry.RequestResult(telemetry.RequestResultCount) {
			if n := counts.Count(result); n > 0 {
				w.sample("", n, "chain", chain.Name(), "result", result.String(), "route", route)
			}
		}
	}
	for _, f := range stepFamilies {
		w.family(f.name, f.kind, f.help)
		seen := map[*telemetry.Step]bool{}
		for _, chain := range s.Chains() {
			for step := range chain.Counted {
				// Steps may be counted together.
				if !step.Shared || !seen[step.Metrics] {
					if step.Shared {
						seen[step.Metrics] = true
					}
					f.write(w, step)
				}
			}
		}
	}
}

// stepFamilies are the metrics of steps.
var stepFamilies = []struct {
	name, kind, help string
	write            func(w *seriesWriter, s worker.CountedStep)
}{
	{"policy_calls_total", "counter", "Calls of a policy by phase and outcome.", func(w *seriesWriter, s worker.CountedStep) {
		for p := range policy.Phase(policy.PhaseCount) {
			if !s.Metrics.Used(p) {
				continue
			}
			for o := range telemetry.StepOutcome(telemetry.StepOutcomeCount) {
				if n := s.Metrics.Outcomes(p, o); n > 0 {
					w.sample("", n, stepLabels(s, "outcome", o.String(), "phase", p.String())...)
				}
			}
		}
	}},
	{"policy_duration_seconds", "histogram", "Time that a policy took in one phase.", func(w *seriesWriter, s worker.CountedStep) {
		for p := range policy.Phase(policy.PhaseCount) {
			if l := s.Metrics.Latency(p); l != nil {
				w.histogram(l, stepLabels(s, "phase", p.String()))
			}
		}
	}},
	{"policy_shadow_disagreements_total", "counter", "Calls in shadow mode that, enforced, would have changed or ended the request.", func(w *seriesWriter, s worker.CountedStep) {
		if n := s.Metrics.Disagreements.Load(); n > 0 {
			w.sample("", n, stepLabels(s)...)
		}
	}},
	{"policy_abandoned_calls", "gauge", "Calls that have not returned after their timeout.", func(w *seriesWriter, s worker.CountedStep) {
		if n := s.Metrics.Abandoned.Load(); n > 0 {
			w.sample("", uint64(n), stepLabels(s)...)
		}
	}},
	{"policy_started", "gauge", "Of policies that have to start: whether the policy has what it needs to decide (1) or errs until it has (0).", func(w *seriesWriter, s worker.CountedStep) {
		if s.Starts {
			w.sample("", uint64(boolean(s.Started)), stepLabels(s)...)
		}
	}},
}

// stepLabels are the labels of a step, or of steps that are counted together, with others, sorted by name. What is not
// the same for all of them is left out. There is room for one more.
func stepLabels(s worker.CountedStep, others ...string) []string {
	labels := make([]string, 0, 16)
	add := func(name, value string) {
		if value != "" {
			labels = append(labels, name, value)
		}
	}
	add("chain", s.Chain)
	add("id", s.ID)
	add("mode", s.Mode.String())
	labels = append(labels, others...) // outcome and phase
	add("policy", s.Policy)
	add("version", s.Version)
	return labels
}

// seriesWriter writes metrics in Prometheus's text format, version 0.0.4. Errors are the writer's to remember.
type seriesWriter struct {
	out  *bufio.Writer
	name string
	// pending is what comes in front of the first sample of a family.
	pending string
}

// family begins a metric, whose help is one line without backslashes. One without samples is not written.
func (w *seriesWriter) family(name, kind, help string) {
	w.name = namespace + name
	w.pending = "# HELP " + w.name + " " + help + "\n# TYPE " + w.name + " " + kind + "\n"
}

// sample writes a sample of the family, with names and values of labels. suffix is a part of the name.
func (w *seriesWriter) sample(suffix string, value uint64, labels ...string) {
	w.labels(suffix, labels)
	var number [20]byte
	_, _ = w.out.Write(strconv.AppendUint(number[:0], value, 10))
	_ = w.out.WriteByte('\n')
}

func (w *seriesWriter) labels(suffix string, labels []string) {
	_, _ = w.out.WriteString(w.pending)
	w.pending = ""
	_, _ = w.out.WriteString(w.name)
	_, _ = w.out.WriteString(suffix)
	for i := 0; i < len(labels); i += 2 {
		separator := byte(',')
		if i == 0 {
			separator = '{'
		}
		_ = w.out.WriteByte(separator)
		_, _ = w.out.WriteString(labels[i])
		_, _ = w.out.WriteString(`="`)
		_, _ = escapeLabel.WriteString(w.out, strings.ToValidUTF8(labels[i+1], "\uFFFD"))
		_ = w.out.WriteByte('"')
	}
	if len(labels) > 0 {
		_ = w.out.WriteByte('}')
	}
	_ = w.out.WriteByte(' ')
}

// escapeLabel escapes a label's value as the format wants it.
var escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// histogram writes a histogram that is not empty. labels has room for one more.
func (w *seriesWriter) histogram(l *telemetry.Latency, labels []string) {
	count, sum, cumulative := l.Read()
	if count == 0 {
		return
	}
	for i, n := range cumulative {
		w.sample("_bucket", n, append(labels, "le", bucketNames[i])...)
	}
	w.sample("_bucket", count, append(labels, "le", "+Inf")...)
	w.labels("_sum", labels)
	_, _ = w.out.WriteString(number(sum.Seconds()))
	_ = w.out.WriteByte('\n')
	w.sample("_count", count, labels...)
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// bucketNames are the bounds of latencies as labels.
var bucketNames = func() (names [len(telemetry.LatencyBuckets)]string) {
	for i, bound := range telemetry.LatencyBuckets {
		names[i] = number(bound.Seconds())
	}
	return names
}()
