package admin

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SourceDump is a control plane as an engine sees it.
type SourceDump struct {
	// Server is the one that is connected, or that was last.
	Server    string    `json:"server,omitempty"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"`
	// Problem is why the newest attempt to connect failed.
	Problem string `json:"problem,omitempty"`
	// Waiting is what an update waits for.
	Waiting []string `json:"waiting,omitempty"`
	// Refused is why the newest resources are not in force.
	Refused string `json:"refused,omitempty"`
	// Kept says that the configuration in force is one that the engine stored earlier.
	Kept        *KeptDump `json:"kept,omitempty"`
	KeepProblem string    `json:"keepProblem,omitempty"`
	// Versions are the newest accepted version of each type of resources, by its URL.
	Versions map[string]string `json:"versions"`
	// The counts are of responses and of the answers to them, and of streams.
	Responses uint64 `json:"responses"`
	Accepted  uint64 `json:"accepted"`
	Refusals  uint64 `json:"refusals"`
	Connects  uint64 `json:"connects"`
	Failures  uint64 `json:"failures"`
}

// KeptDump is a configuration that an engine stored.
type KeptDump struct {
	Version string    `json:"version"`
	Saved   time.Time `json:"saved"`
	// Seconds is how old it is.
	Seconds int64 `json:"ageSeconds"`
}

// source is the control plane, or nil.
func (o *Options) source() *SourceDump {
	if o.Source == nil {
		return nil
	}
	return o.Source()
}

// Line describes the control plane in a line, for people.
func (s *SourceDump) Line() string {
	var b strings.Builder
	switch {
	case s.Connected:
		fmt.Fprintf(&b, "control plane: connected to %s", s.Server)
	case s.Problem != "":
		fmt.Fprintf(&b, "control plane: not connected: %s", s.Problem)
	default:
		b.WriteString("control plane: not connected yet")
	}
	if k := s.Kept; k != nil {
		fmt.Fprintf(&b, "; in force is the kept configuration %s, %s old", k.Version, time.Duration(k.Seconds)*time.Second)
	}
	if len(s.Waiting) > 0 {
		fmt.Fprintf(&b, "; an update waits for %s", strings.Join(s.Waiting, ", "))
	}
	return b.String()
}

var (
	planeConnected = desc("control_plane_connected", "Whether a control plane is connected (1) or not (0).")
	planeConnects  = desc("control_plane_connects_total", "Streams that were made to a control plane.")
	planeFailures  = desc("control_plane_failures_total", "Attempts to reach a control plane that failed, and streams that were lost.")
	planeResponses = desc("control_plane_responses_total", "Responses of a control plane.")
	planeAnswers   = desc("control_plane_answers_total", "Answers to its responses, by verdict: accepted or refused.", "verdict")
	planeWaiting   = desc("control_plane_update_waiting", "Whether an update waits for something that it refers to (1) or not (0).")
	planeKept      = desc("config_kept", "Whether the configuration in force is one that the engine stored earlier (1) or not (0).")
	planeKeptAge   = desc("config_kept_age_seconds", "How old that stored configuration is.")
)

// SourceCollector shows a control plane to Prometheus.
type SourceCollector struct{ source func() *SourceDump }

// NewSourceCollector returns a collector over a control plane, which must not be nil.
func NewSourceCollector(source func() *SourceDump) *SourceCollector { return &SourceCollector{source} }

// Describe implements prometheus.Collector.
func (c *SourceCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{planeConnected, planeConnects, planeFailures, planeResponses, planeAnswers, planeWaiting, planeKept, planeKeptAge} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *SourceCollector) Collect(to chan<- prometheus.Metric) {
	s := c.source()
	gauge := func(d *prometheus.Desc, v float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(planeConnected, boolean(s.Connected))
	counter(planeConnects, s.Connects)
	counter(planeFailures, s.Failures)
	counter(planeResponses, s.Responses)
	counter(planeAnswers, s.Accepted, "accepted")
	counter(planeAnswers, s.Refusals, "refused")
	gauge(planeWaiting, boolean(len(s.Waiting) > 0))
	gauge(planeKept, boolean(s.Kept != nil))
	if s.Kept != nil {
		gauge(planeKeptAge, float64(s.Kept.Seconds))
	}
}
