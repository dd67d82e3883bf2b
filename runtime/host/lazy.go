package host

import (
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"policyengine.dev/sdk/policy"
)

// lazy is a handle whose metric is made when it is first used: with ten thousand chains most never are, and one takes a
// kilobyte. Safe for concurrent use.
type lazy[M prometheus.Metric] struct {
	// metrics, at and family are nil where nobody is shown the metric.
	metrics *Metrics
	at      *place
	family  *family
	labels  []policy.Label
	create  func(fq, help string, l prometheus.Labels) M
	made    atomic.Pointer[M]
}

// get returns the metric. Only the first call takes a lock.
func (l *lazy[M]) get() M {
	if m := l.made.Load(); m != nil {
		return *m
	}
	m := l.make()
	l.made.CompareAndSwap(nil, &m)
	return *l.made.Load()
}

func (l *lazy[M]) make() M {
	if l.family == nil {
		return l.create("invalid", "", nil)
	}
	p := l.at.Place
	all := prometheus.Labels{"chain": p.Chain, "id": p.ID, "version": p.Version}
	for _, own := range l.labels {
		all[own.Name] = own.Value
	}
	// Versions side by side may word the help differently, and the format
	// allows one text per name.
	return l.create(l.family.name, l.family.help, all)
}

func (l *lazy[M]) is(f *family, labels []policy.Label) bool {
	return l.family == f && slices.Equal(l.labels, labels)
}

func (l *lazy[M]) of() *family { return l.family }

func (l *lazy[M]) metric() prometheus.Metric {
	if m := l.made.Load(); m != nil {
		return *m
	}
	return nil
}

// counter, gauge and histogram are handles as policies see them.
type (
	counter   struct{ *lazy[prometheus.Counter] }
	gauge     struct{ *lazy[prometheus.Gauge] }
	histogram struct{ *lazy[prometheus.Histogram] }
)

// Add implements policy.Counter.
func (c counter) Add(n float64) { c.get().Add(n) }

// Set implements policy.Gauge.
func (g gauge) Set(v float64) { g.get().Set(v) }

// Observe implements policy.Histogram.
func (h histogram) Observe(v float64) { h.get().Observe(v) }
