package policy

import "time"

// backendResult is what became of a request to a backend.
type backendResult uint8

const (
	backendOK backendResult = iota
	backendStatus
	backendError
	backendTimeout
	backendCanceled
	backendTooLarge
	backendRedirect
	backendBusy
	backendOpen
	backendInvalid
	backendResults
)

var backendResultNames = [backendResults]string{
	"ok", "status_5xx", "error", "timeout", "canceled", "too_large", "redirect", "busy", "open", "invalid",
}

var backendBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}

type backendMetrics struct {
	requests [backendResults]Counter
	seconds  Histogram
	open     Gauge
}

func newBackendMetrics(m Metrics, name string) (all backendMetrics) {
	backend := Label{"backend", name}
	for r := range all.requests {
		all.requests[r] = m.Counter("backend_requests_total", "Requests of the policy to a backend, by what became of them.", backend, Label{"result", backendResultNames[r]})
	}
	all.seconds = m.Histogram("backend_seconds", "How long requests to a backend took that were sent.", backendBuckets, backend)
	all.open = m.Gauge("backend_open", "1 while a backend is not asked, having failed too often.", backend)
	return all
}

func (m *backendMetrics) observe(r backendResult, took time.Duration) {
	m.requests[r].Add(1)
	if r < backendBusy {
		m.seconds.Observe(took.Seconds())
	}
}
