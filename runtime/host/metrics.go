package host

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"policyengine.dev/sdk/policy"
)

// Metrics holds the metrics that policies make. Their names are
// policy_engine_policy_<policy>_<name>; each carries the labels chain, id and version.
// It is a prometheus.Collector. Safe for concurrent use.
type Metrics struct {
	logger *slog.Logger
	mu     sync.Mutex
	// families are kept over reloads, so that all handles of a name agree.
	families map[string]family
	// handles belong to a place in a chain, and go when it does.
	handles map[Place]map[string]exposed
	// full are the places that wanted more of them than there may be.
	full map[Place]bool
}

// Place is where a policy stands.
type Place struct{ Chain, ID, Policy, Version string }

// family is what all metrics of one name have to agree on.
type family struct {
	kind, help string
	labels     string
}

// exposed is a metric, and the name that it has with others.
type exposed struct {
	metric prometheus.Metric
	family string
}

// NewMetrics returns metrics without any. What policies do wrong goes to logger.
func NewMetrics(logger *slog.Logger) *Metrics {
	return &Metrics{logger: logger, families: map[string]family{}, handles: map[Place]map[string]exposed{}, full: map[Place]bool{}}
}

// For returns the metrics of one policy at its place.
func (m *Metrics) For(p Place) policy.Metrics { return placed{m, p} }

// Keep drops the metrics of every place for which keep is false. Handles that are
// still held go on counting to no effect.
func (m *Metrics) Keep(keep func(Place) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	used := map[string]bool{}
	for p, handles := range m.handles {
		if !keep(p) {
			delete(m.handles, p)
			delete(m.full, p)
			continue
		}
		for _, h := range handles {
			used[h.family] = true
		}
	}
	maps.DeleteFunc(m.families, func(name string, _ family) bool { return !used[name] })
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
	for _, handles := range m.handles {
		for _, h := range handles {
			to <- h.metric
		}
	}
}

type placed struct {
	*Metrics
	place Place
}

// Counter implements policy.Metrics.
func (p placed) Counter(name, help string, labels ...policy.Label) policy.Counter {
	return handle(p, "counter", name, help, labels, func(fq, help string, l prometheus.Labels) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: fq, Help: help, ConstLabels: l})
	})
}

// Gauge implements policy.Metrics.
func (p placed) Gauge(name, help string, labels ...policy.Label) policy.Gauge {
	return handle(p, "gauge", name, help, labels, func(fq, help string, l prometheus.Labels) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: fq, Help: help, ConstLabels: l})
	})
}

// Histogram implements policy.Metrics.
func (p placed) Histogram(name, help string, buckets []float64, labels ...policy.Label) policy.Histogram {
	return handle(p, "histogram", name, help, labels, func(fq, help string, l prometheus.Labels) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: fq, Help: help, Buckets: buckets, ConstLabels: l})
	})
}

// handle returns the metric that is there, or makes it. One that cannot be exposed
// still counts, for nobody: a policy must not fail over a metric.
func handle[M prometheus.Metric](p placed, kind, name, help string, labels []policy.Label, create func(fq, help string, l prometheus.Labels) M) M {
	all := prometheus.Labels{"chain": p.place.Chain, "id": p.place.ID, "version": p.place.Version}
	names := []string{}
	key := name
	for _, l := range labels {
		all[l.Name] = l.Value
		names = append(names, l.Name)
		key += "\x00" + l.Name + "\x00" + l.Value
	}
	slices.Sort(names)
	fq := "policy_engine_policy_" + strings.ReplaceAll(p.place.Policy, "-", "_") + "_" + name

	p.mu.Lock()
	defer p.mu.Unlock()
	if h, ok := p.handles[p.place][key].metric.(M); ok {
		return h
	}
	want := family{kind, help, strings.Join(names, ",")}
	if n := len(p.handles[p.place]); n >= maxHandles {
		if !p.full[p.place] {
			p.full[p.place] = true
			p.logger.Warn("a policy makes more metrics than are exposed; further ones count for nobody",
				slog.String("policy", p.place.Policy+"@"+p.place.Version), slog.String("chain", p.place.Chain), slog.Int("exposed", n))
		}
		return create("invalid", "", nil)
	}
	have, known := p.families[fq]
	if !known {
		have = want
		p.families[fq] = want
	}
	bad := len(all) != 3+len(labels) || !validName(name) || slices.ContainsFunc(names, func(n string) bool { return !validName(n) })
	if bad || have.kind != want.kind || have.labels != want.labels {
		p.logger.Warn("a policy's metric is not exposed: its name or labels are not valid, or do not agree with an earlier one of that name",
			slog.String("policy", p.place.Policy+"@"+p.place.Version), slog.String("metric", name))
		return create("invalid", "", nil)
	}
	// Versions side by side may word the help differently, and the format
	// allows one text per name.
	h := create(fq, have.help, all)
	if p.handles[p.place] == nil {
		p.handles[p.place] = map[string]exposed{}
	}
	p.handles[p.place][key] = exposed{h, fq}
	return h
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
