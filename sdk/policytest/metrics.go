package policytest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"policyengine.dev/sdk/policy"
)

// Metrics keeps what a policy counts. The zero value is empty. Safe for concurrent
// use. What no runtime would take panics: a bad name, one name for two kinds of metric,
// a counter that falls.
type Metrics struct {
	mu     sync.Mutex
	series map[string]*series
	kinds  map[string]string
}

// Counter implements [policy.Metrics].
func (m *Metrics) Counter(name, _ string, labels ...policy.Label) policy.Counter {
	return m.get("counter", name, labels)
}

// Gauge implements [policy.Metrics].
func (m *Metrics) Gauge(name, _ string, labels ...policy.Label) policy.Gauge {
	return m.get("gauge", name, labels)
}

// Histogram implements [policy.Metrics].
func (m *Metrics) Histogram(name, _ string, buckets []float64, labels ...policy.Label) policy.Histogram {
	if !slices.IsSorted(buckets) {
		panic(fmt.Sprintf("histogram %q: the buckets do not rise", name))
	}
	return m.get("histogram", name, labels)
}

// Value returns a counter's or gauge's value, or a histogram's sum; 0 where there
// is none. The order of labels does not matter.
func (m *Metrics) Value(name string, labels ...policy.Label) float64 {
	sum, _ := m.read(name, labels)
	return sum
}

// Count returns how often a metric was added to, set or observed.
func (m *Metrics) Count(name string, labels ...policy.Label) int {
	_, n := m.read(name, labels)
	return n
}

// Names returns the metrics' names with their labels, sorted, such as
// `hits{result="found"}`.
func (m *Metrics) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.series))
}

func (m *Metrics) read(name string, labels []policy.Label) (float64, int) {
	m.mu.Lock()
	s := m.series[seriesKey(name, labels)]
	m.mu.Unlock()
	if s == nil {
		return 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value, s.count
}

func (m *Metrics) get(kind, name string, labels []policy.Label) *series {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		panic(fmt.Sprintf("metric %q: a name consists of lower case letters, digits and underscores", name))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.series == nil {
		m.series, m.kinds = map[string]*series{}, map[string]string{}
	}
	if k, ok := m.kinds[name]; ok && k != kind {
		panic(fmt.Sprintf("metric %q: it is a %s already", name, k))
	}
	m.kinds[name] = kind
	key := seriesKey(name, labels)
	s := m.series[key]
	if s == nil {
		s = &series{rises: kind == "counter"}
		m.series[key] = s
	}
	return s
}

func seriesKey(name string, labels []policy.Label) string {
	if len(labels) == 0 {
		return name
	}
	parts := make([]string, len(labels))
	for i, l := range labels {
		parts[i] = fmt.Sprintf("%s=%q", l.Name, l.Value)
	}
	slices.Sort(parts)
	return name + "{" + strings.Join(parts, ",") + "}"
}

type series struct {
	rises bool

	mu    sync.Mutex
	value float64
	count int
}

func (s *series) Add(n float64) {
	if s.rises && n < 0 {
		panic("a counter only rises")
	}
	s.update(func(v float64) float64 { return v + n })
}

func (s *series) Set(v float64) { s.update(func(float64) float64 { return v }) }

func (s *series) Observe(v float64) { s.update(func(sum float64) float64 { return sum + v }) }

func (s *series) update(f func(float64) float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value = f(s.value)
	s.count++
}
