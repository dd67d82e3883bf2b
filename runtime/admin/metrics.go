package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"policyengine.dev/runtime/memory"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
)

// stepLabels name one step. Their values come from the configuration in force, which
// is what bounds the number of series.
var stepLabels = []string{"chain", "id", "policy", "version", "mode"}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("policy_engine_"+name, help, labels, nil)
}

var (
	stepCalls         = desc("policy_calls_total", "Calls of a policy by phase and outcome.", append(stepLabels[:5:5], "phase", "outcome")...)
	stepSeconds       = desc("policy_duration_seconds", "Time that a policy took in one phase.", append(stepLabels[:5:5], "phase")...)
	stepDisagreements = desc("policy_shadow_disagreements_total", "Calls in shadow mode that, enforced, would have changed or ended the request.", stepLabels...)
	stepAbandoned     = desc("policy_abandoned_calls", "Calls that have not come back after their timeout.", stepLabels...)
	stepStarted       = desc("policy_started", "Whether the policy has what it needs to decide (1) or errs until it has (0).", stepLabels...)

	streamsStarted   = desc("streams_total", "Streams of Envoy's filter: one for each HTTP request.")
	streamsOpen      = desc("streams_open", "Streams that are open now.")
	streamsFailed    = desc("streams_failed_total", "Streams that ended with an error of the engine or of the protocol.")
	streamsTakenOver = desc("streams_taken_over_total", "Streams that went on elsewhere since a policy did not come back.")
	contradictions   = desc("filter_contradictions_total", "Requests that have shown that Envoy's filter does not do what is said of it; later ones to chains that depend on it are refused.")
	streamsPanics    = desc("panics_total", "Faults of the engine itself; those of policies are in policy_calls_total.")
	messageSeconds   = desc("message_duration_seconds", "Time from a message of Envoy's to its answer.", "part")
	responses        = desc("immediate_responses_total", "Requests that were answered in the upstream's place, by response code details, which end in the reason.", "details")
	refusals         = desc("refusals_total", "Requests and responses that the engine refused by itself, with no policy to blame, by cause.", "cause")
	requests         = desc("requests_total", "Requests on routes that have a chain, by result: passed, answered in the upstream's place, or canceled, which is over before the chain was done.", "route", "chain", "result")

	memoryUsed    = desc("body_memory_bytes", "Memory that the bodies of requests and responses in flight take.")
	memoryLimit   = desc("body_memory_limit_bytes", "Memory that they may take (limits.memory).")
	memoryRefused = desc("body_memory_refusals_total", "Requests and responses that were refused as OVERLOADED, since their bodies would have taken more.")

	tracedSent    = desc("traces_sent_total", "Requests whose spans the collector has taken.")
	tracedFailed  = desc("traces_failed_total", "Requests whose spans could not be sent.")
	tracedDropped = desc("traces_dropped_total", "Requests whose spans were dropped, since the collector did not keep up.")

	configInfo     = desc("config_info", "The configuration in force.", "version")
	configLoaded   = desc("config_loaded_timestamp_seconds", "When the configuration in force was loaded.")
	configUpdates  = desc("config_updates_total", "Configurations that took effect.")
	configRejected = desc("config_rejections_total", "Configurations that were refused.")
	configStale    = desc("config_stale", "Whether the newest configuration was refused (1) or is in force (0).")
	configWarnings = desc("config_warnings", "Warnings about the configuration in force.")
	configRoutes   = desc("config_routes", "Routes that have a chain.")
	configChains   = desc("config_chains", "Chains.")
)

// Collector shows a kernel's streams and a worker's configuration and steps to
// Prometheus.
type Collector struct {
	worker  *worker.Worker
	streams *telemetry.Streams
	traces  *telemetry.Traces
	memory  *memory.Account
}

// NewCollector returns a collector over w, s, t and m. t is nil where nothing is traced,
// and m where bodies are not counted. Safe for concurrent use.
func NewCollector(w *worker.Worker, s *telemetry.Streams, t *telemetry.Traces, m *memory.Account) *Collector {
	return &Collector{w, s, t, m}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		stepCalls, stepSeconds, stepDisagreements, stepAbandoned, stepStarted, configInfo, configLoaded,
		configUpdates, configRejected, configStale, configWarnings, configRoutes, configChains,
		streamsStarted, streamsOpen, streamsFailed, streamsTakenOver, contradictions, streamsPanics, messageSeconds, responses, refusals, requests, tracedSent, tracedFailed, tracedDropped,
		memoryUsed, memoryLimit, memoryRefused,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	st := c.worker.Status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	counter(streamsStarted, c.streams.Started.Load())
	gauge(streamsOpen, float64(c.streams.Open.Load()))
	counter(streamsFailed, c.streams.Failed.Load())
	counter(streamsTakenOver, c.streams.TakenOver.Load())
	counter(contradictions, c.streams.Contradictions.Load())
	counter(streamsPanics, c.streams.Panics.Load())
	for i, name := range telemetry.PartNames {
		to <- latency(messageSeconds, &c.streams.Parts[i], []string{name})
	}
	for details, n := range c.streams.Responses {
		counter(responses, n, details)
	}
	for cause := range telemetry.Cause(telemetry.CauseCount) {
		counter(refusals, c.streams.Refusals[cause].Load(), cause.String())
	}
	if m := c.memory; m != nil {
		gauge(memoryUsed, float64(m.Used()))
		gauge(memoryLimit, float64(m.Limit()))
		counter(memoryRefused, m.Refused())
	}
	if t := c.traces; t != nil {
		counter(tracedSent, t.Sent.Load())
		counter(tracedFailed, t.Failed.Load())
		counter(tracedDropped, t.Dropped.Load())
	}
	counter(configUpdates, st.Updates)
	counter(configRejected, st.Rejections)
	gauge(configStale, boolean(st.Err != nil))
	s := c.worker.Acquire()
	if s == nil {
		return
	}
	defer s.Release()
	gauge(configInfo, 1, s.Version())
	gauge(configLoaded, float64(s.Loaded().UnixNano())/float64(time.Second))
	gauge(configWarnings, float64(len(st.Warnings)))
	gauge(configChains, float64(len(s.Chains())))
	gauge(configRoutes, float64(s.RouteCount()))
	for route, chain := range s.Routes {
		m := s.Requests(route)
		for result := range telemetry.RequestResult(telemetry.RequestResultCount) {
			counter(requests, m.Count(result), route, chain.Name(), result.String())
		}
	}
	for _, chain := range s.Chains() {
		for step := range chain.Steps {
			labels := []string{chain.Name(), step.ID, step.Policy, step.Version, step.Mode.String()}
			counter(stepDisagreements, step.Metrics.Disagreements.Load(), labels...)
			gauge(stepAbandoned, float64(step.Metrics.Abandoned.Load()), labels...)
			gauge(stepStarted, boolean(step.Started), labels...)
			collectPhases(to, step, labels)
		}
	}
}

func collectPhases(to chan<- prometheus.Metric, step worker.StepInfo, labels []string) {
	for _, phase := range step.Phases.List() {
		at := append(labels[:len(labels):len(labels)], phase.String())
		for o := telemetry.StepOutcome(0); o < telemetry.StepOutcomeCount; o++ {
			n := step.Metrics.Outcomes(phase, o)
			to <- prometheus.MustNewConstMetric(stepCalls, prometheus.CounterValue, float64(n), append(at[:len(at):len(at)], o.String())...)
		}
		to <- latency(stepSeconds, step.Metrics.Latency(phase), at)
	}
}

func latency(d *prometheus.Desc, l *telemetry.Latency, labels []string) prometheus.Metric {
	count, sum, cumulative := l.Read()
	buckets := make(map[float64]uint64, len(cumulative))
	for i, n := range cumulative {
		buckets[telemetry.LatencyBuckets[i].Seconds()] = n
	}
	return prometheus.MustNewConstHistogram(d, count, sum.Seconds(), buckets, labels...)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
