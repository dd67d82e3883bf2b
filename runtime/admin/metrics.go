package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"policyengine.dev/runtime/memory"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
)

// namespace begins the name of every metric.
const namespace = "policy_engine_"

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+name, help, labels, nil)
}

var (
	streamsStarted   = desc("streams_total", "Streams that Envoy opened, one for each HTTP request.")
	streamsOpen      = desc("streams_open", "Open streams.")
	streamsFailed    = desc("streams_failed_total", "Streams that ended with an error of the engine or the protocol.")
	streamsTakenOver = desc("streams_taken_over_total", "Streams whose processing moved to another goroutine, because a call of a policy exceeded its deadline.")
	contradictions   = desc("filter_contradictions_total", "Requests that contradict the description of Envoy's filter (its stamp or engine.yaml). Later requests to chains that depend on it are refused.")
	streamsPanics    = desc("panics_total", "Panics in the engine itself. Panics in policies are in policy_calls_total.")
	messageSeconds   = desc("message_duration_seconds", "Time from a message of Envoy to its answer.", "part")
	responses        = desc("immediate_responses_total", "Requests that the engine or a policy answered, by response code details, which end in the reason.", "details")
	refusals         = desc("refusals_total", "Requests and responses that the engine itself refused, by cause.", "cause")

	memoryUsed    = desc("body_memory_bytes", "Memory that the bodies of requests and responses in flight use.")
	memoryLimit   = desc("body_memory_limit_bytes", "Memory that they may use (limits.memory).")
	memoryRefused = desc("body_memory_refusals_total", "Requests and responses that were refused as OVERLOADED, because their bodies would exceed limits.memory.")

	tracedSent    = desc("traces_sent_total", "Requests whose spans the collector accepted.")
	tracedFailed  = desc("traces_failed_total", "Requests whose spans could not be sent.")
	tracedDropped = desc("traces_dropped_total", "Requests whose spans were dropped, because the queue to the collector was full.")

	configInfo     = desc("config_info", "The configuration in force.", "version")
	configLoaded   = desc("config_loaded_timestamp_seconds", "When the configuration in force was loaded.")
	configUpdates  = desc("config_updates_total", "Configurations that took effect.")
	configRejected = desc("config_rejections_total", "Configurations that the engine refused.")
	configStale    = desc("config_stale", "Whether the newest configuration was refused (1) or is in force (0).")
	configWarnings = desc("config_warnings", "Warnings about the configuration in force.")
	configRoutes   = desc("config_routes", "Routes that have a chain.")
	configChains   = desc("config_chains", "Chains in the configuration in force.")
)

// Collector shows a kernel's streams and a worker's configuration to Prometheus. What there is of each route and step is
// too much to be collected: see the handler's Options.Worker.
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
		configInfo, configLoaded,
		configUpdates, configRejected, configStale, configWarnings, configRoutes, configChains,
		streamsStarted, streamsOpen, streamsFailed, streamsTakenOver, contradictions, streamsPanics, messageSeconds, responses, refusals, tracedSent, tracedFailed, tracedDropped,
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
