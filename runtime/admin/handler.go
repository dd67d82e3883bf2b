package admin

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"

	"policyengine.dev/runtime/memory"
	"policyengine.dev/runtime/worker"
)

// Options are what the pages show.
type Options struct {
	Worker *worker.Worker
	// Memory is what the bodies in flight are counted in; nil counts nothing.
	Memory *memory.Account
	// Metrics is what /metrics shows besides what the worker counts for each route and step.
	Metrics prometheus.Gatherer
	// Ready reports that requests may come once a configuration is in force; nil is always.
	Ready func() bool
	// Draining reports that the engine is about to end; nil is never.
	Draining func() bool
	// Pprof serves profiles under /debug/pprof/. They show file names and
	// stacks, and a CPU profile costs time: off unless asked for.
	Pprof bool
	// Version says what the engine was built as.
	Version Version
	// Filters are the filters of Envoy that do not do what is said of them; nil is
	// none.
	Filters func() []FilterDump
	// Source describes the control plane that chains and routes come from; nil, or a nil
	// result, is none.
	Source func() *SourceDump
	// Explain says what the engine does with requests on a route; nil explains nothing.
	Explain func(s *worker.Snapshot, route string) Explanation
	// Logger is told of metrics that cannot be shown; nil drops it.
	Logger *slog.Logger
}

// Explanation is an explanation for readers that is also written as JSON.
type Explanation interface {
	WriteText(w io.Writer) error
}

// NewHandler returns the pages:
//
//	/healthz      200 while the process serves
//	/readyz       200 once a valid configuration is in force and while not draining, else 503 and why;
//	              and how much of the memory for bodies is in use, which changes nothing of that
//	/config_dump  the configuration in force and the one refused after it, as JSON; with ?route=NAME
//	              what the engine does with requests on that route, with &format=text for readers
//	/version      what the engine was built from, as JSON
//	/metrics      for Prometheus
//	/debug/pprof/ where Options.Pprof is set
//	/             a page for people
//
// All but these are 404, all methods but GET and HEAD 405.
func NewHandler(o Options) http.Handler {
	if o.Ready == nil {
		o.Ready = func() bool { return true }
	}
	if o.Draining == nil {
		o.Draining = func() bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		status, why := o.readiness()
		if err := o.Worker.Status().Err; err != nil && status != http.StatusOK && !o.Draining() {
			why += "; what there is was refused:\n" + err.Error()
		}
		if s := o.source(); s != nil {
			why += "\n" + s.Line()
		}
		if status == http.StatusOK && o.Memory != nil {
			why += "\n" + o.pressure()
		}
		text(w, status, why+"\n")
	})
	mux.HandleFunc("/config_dump", o.dump)
	mux.HandleFunc("/version", o.Version.page)
	mux.Handle("/metrics", o.metricsPage())
	mux.HandleFunc("/{$}", o.console)
	if o.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return readOnly(mux)
}

// readOnly refuses what would change something, and keeps browsers from making more
// of a page than it is.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			text(w, http.StatusMethodNotAllowed, "only GET and HEAD\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// readiness says whether requests should be sent here, and if not, why.
func (o *Options) readiness() (status int, why string) {
	switch {
	case o.Draining():
		return http.StatusServiceUnavailable, "draining"
	case o.Worker.Status().Version == "" && o.Worker.Status().Updates == 0:
		return http.StatusServiceUnavailable, "no valid configuration yet"
	case !o.Ready():
		return http.StatusServiceUnavailable, "the first configuration is about to be served"
	}
	return http.StatusOK, "ready"
}

// pressure says how much of the memory for bodies is in use. An engine without any left
// is ready all the same: it still decides requests without bodies, and an engine that
// is taken out of the load balancer sends its bodies to the others.
func (o *Options) pressure() string {
	used, limit := o.Memory.Used(), o.Memory.Limit()
	return fmt.Sprintf("body memory: %d of %d bytes in use (%d%%), %d requests and responses refused as OVERLOADED",
		used, limit, used*100/max(limit, 1), o.Memory.Refused())
}

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(s))
}
