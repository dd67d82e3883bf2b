package admin

import (
	"bufio"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// metricsPage returns the page of all metrics, in Prometheus's text format. What there is of each route and step is
// written as it is read, so that the page takes no memory in proportion to the configuration.
func (o *Options) metricsPage() http.Handler {
	// A metric that is none, or that two make, must not take all others along.
	gathered := promhttp.HandlerFor(besidesSeries{o.Metrics, o.Logger}, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		var to io.Writer = w
		if acceptsGzip(r) {
			w.Header().Set("Content-Encoding", "gzip")
			compressed := gzip.NewWriter(w)
			defer compressed.Close()
			to = compressed
		}
		out := bufio.NewWriterSize(to, 64<<10)
		// What fails is the connection, and nobody is left to tell.
		defer out.Flush()
		plain := r.Clone(r.Context())
		plain.Header = http.Header{} // neither compressed nor in another format
		gathered.ServeHTTP(bodyOnly{out, http.Header{}}, plain)
		series := seriesWriter{out: out}
		o.writeSeries(&series)
	})
}

// acceptsGzip reports whether a request wants its answer compressed.
func acceptsGzip(r *http.Request) bool {
	for _, header := range r.Header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(header, ",") {
			name, quality, _ := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";")
			if name == "gzip" {
				return quality != "q=0"
			}
		}
	}
	return false
}

// bodyOnly passes on the body that a handler writes, as a part of another one.
type bodyOnly struct {
	io.Writer
	header http.Header
}

// Header implements http.ResponseWriter.
func (b bodyOnly) Header() http.Header { return b.header }

// WriteHeader implements http.ResponseWriter.
func (b bodyOnly) WriteHeader(int) {}

// besidesSeries leaves out metrics of policies that have the name of one that seriesWriter writes: a page has each name
// once.
type besidesSeries struct {
	prometheus.Gatherer
	logger *slog.Logger
}

// Gather implements prometheus.Gatherer.
func (b besidesSeries) Gather() ([]*dto.MetricFamily, error) {
	families, err := b.Gatherer.Gather()
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool {
		for _, own := range stepFamilies {
			if f.GetName() == namespace+own.name {
				b.logger.Warn("a policy's metric is not shown, since the engine has one of that name", slog.String("metric", f.GetName()))
				return true
			}
		}
		return false
	}), err
}
