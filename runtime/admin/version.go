package admin

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"policyengine.dev/runtime/bundle"
)

// Build says what an engine was built as.
type Build struct {
	Engine string `json:"engine,omitempty"`
	Go     string `json:"go"`
}

// Version says what an engine was built as, and from what. It is a prometheus.Collector of one metric.
type Version struct {
	Build
	// Bundle is the bundle's manifest; nil if the program is no bundle.
	Bundle *bundle.Manifest `json:"bundle,omitempty"`
}

var buildInfo = desc("build_info", "What the engine was built from: the bundle, the SHA-256 digest of its manifest, and the version of Go. Always 1.", "bundle", "go", "manifest")

// Describe implements prometheus.Collector.
func (v Version) Describe(to chan<- *prometheus.Desc) { to <- buildInfo }

// Collect implements prometheus.Collector. The labels bundle and manifest are empty without a manifest.
func (v Version) Collect(to chan<- prometheus.Metric) {
	var name, digest string
	if v.Bundle != nil {
		name = v.Bundle.Bundle
		text, err := v.Bundle.Encode()
		if err != nil {
			to <- prometheus.NewInvalidMetric(buildInfo, err)
			return
		}
		digest = bundle.Digest(text)
	}
	to <- prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, name, v.Go, digest)
}

// page writes the version as JSON.
func (v Version) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	// What fails is the connection, and nobody is left to tell.
	_ = encoder.Encode(v)
}
