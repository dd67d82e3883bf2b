package host

import (
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"policyengine.dev/sdk/policy"
)

// Metrics holds the metrics that policies make. Their names are
// policy_engine_policy_<policy>_<name>; each carries the labels chain, id and version.
// One is shown from its first use on. It is a prometheus.Collector. Safe for concurrent use.
type Metrics struct {
	logger *slog.Logger
	mu     sync.Mutex
	// families are kept over reloads, so that all handles of a name agree.
	families map[string]*family
	// places have the handles, which go with them.
	places map[Place]*place
}

// Place is where a policy stands.
type Place struct{ Chain, ID, Policy, Version string }

// family is what all metrics of one name have to agree on.
type family struct {
	name, kind, help string
	// labels are the names of a policy's own labels, sorted and joined.
	labels string
	// handles counts those of all places.
	handles int
}

// place is what a policy has made at its place. It is guarded by Metrics.mu.
type place struct {
	Place
	handles []handle
	// full says that the policy wanted more handles than there may be.
	full bool
}

// handle is a metric that a policy has asked for.
type handle interface {
	// is reports whether it is of this family, with these labels.
	is(f *family, labels []policy.Label) bool
	of() *family
	// metric is what is shown, or nil before the first use.
	metric() prometheus.Metric
}

// NewMetrics returns metrics without any. What policies do wrong goes to logger.
func NewMetrics(logger *slog.Logger) *Metrics {
	return &Metrics{logger: logger, families: map[string]*family{}, places: map[Place]*place{}}
}

// For returns the metrics of one policy at its place.
func (m *Metrics) For(p Place) policy.Metrics { return &placed{m, p} }

// Forget drops the metrics of a place. Handles that are still held go on counting to no effect.
func (m *Metrics) Forget(p Place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(p)
}

func (m *Metrics) forget(p Place) {
	at := m.places[p]
	if at == nil {
		return
	}
	delete(m.places, p)
	for _, h := range at.handles {
		f := h.of()
		if f.handles--; f.handles == 0 {
			delete(m.families, f.name)
		}
	}
}

// KeepShared drops the metrics of what instances share, which is at no place in a chain, where keep is false.
func (m *Metrics) KeepShared(keep func(Place) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.places {
		if p.Chain == "" && p.ID == "" && !keep(p) {
			m.forget(p)
		}
	}
}

// maxHandles bounds the metrics of one policy at its place: a policy could make up a
// label's value for every request.
const maxHandles = 1000

// Describe implements prometheus.Collector. Describing nothing makes the collector
// unchecked: what there is depends on the configuration.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, at := range m.places {
		for _, h := range at.handles {
			if metric := h.metric(); metric != nil {
				to <- metric
			}
		}
	}
}

type placed struct {
	metrics *Metrics
	place   Place
}

// Counter implements policy.Metrics.
func (p *placed) Counter(name, help string, labels ...policy.Label) policy.Counter {
	return counter{get(p, "counter", name, help, labels, func(fq, help string, l prometheus.Labels) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: fq, Help: help, ConstLabels: l})
	})}
}

// Gauge implements policy.Metrics.
func (p *placed) Gauge(name, help string, labels ...policy.Label) policy.Gauge {
	return gauge{get(p, "gauge", name, help, labels, func(fq, help string, l prometheus.Labels) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: fq, Help: help, ConstLabels: l})
	})}
}

// Histogram implements policy.Metrics.
func (p *placed) Histogram(name, help string, buckets []float64, labels ...policy.Label) policy.Histogram {
	return histogram{get(p, "histogram", name, help, labels, func(fq, help string, l prometheus.Labels) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: fq, Help: help, Buckets: buckets, ConstLabels: l})
	})}
}

// get returns the handle that is there, or makes it. One that cannot be exposed
// still counts, for nobody: a policy must not fail over a metric.
func get[M prometheus.Metric](p *placed, kind, name, help string, labels []policy.Label, create func(fq, help string, l prometheus.Labels) M) *lazy[M] {
	m := p.metrics
	fq := "policy_engine_policy_" + strings.ReplaceAll(p.place.Policy, "-", "_") + "_" + name
	names := make([]string, len(labels))
	for i, l := range labels {
		names[i] = l.Name
	}
	slices.Sort(names)
	want := family{name: fq, kind: kind, help: help, labels: strings.Join(names, ",")}

	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.places[p.place]
	f := m.families[fq]
	if at != nil && f != nil {
		for _, h := range at.handles {
			if known, ok := h.(*lazy[M]); ok && h.is(f, labels) {
				return known
			}
		}
	}
	nobody := &lazy[M]{create: create}
	if at != nil && len(at.handles) >= maxHandles {
		if !at.full {
			at.full = true
			m.logger.Warn("a policy creates more metrics than the limit; further ones are not exposed",
				slog.String("policy", p.place.Policy+"@"+p.place.Version), slog.String("chain", p.place.Chain), slog.Int("exposed", maxHandles))
		}
		return nobody
	}
	if !valid(name, names) || f != nil && (f.kind != want.kind || f.labels != want.labels) {
		m.logger.Warn("a policy's metric is not exposed: its name or labels are not valid, or do not agree with an earlier one of that name",
			slog.String("policy", p.place.Policy+"@"+p.place.Version), slog.String("metric", name))
		return nobody
	}
	if f == nil {
		f = &want
		m.families[fq] = f
	}
	if at == nil {
		at = &place{Place: p.place}
		m.places[p.place] = at
	}
	f.handles++
	h := &lazy[M]{metrics: m, at: at, family: f, labels: slices.Clone(labels), create: create}
	at.handles = append(at.handles, h)
	return h
}

// valid reports whether a metric can be exposed. names are those of its labels, sorted.
func valid(name string, names []string) bool {
	for i, n := range names {
		if !validName(n) || n == "chain" || n == "id" || n == "version" || i > 0 && names[i-1] == n {
			return false
		}
	}
	return validName(name)
}

func validName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
