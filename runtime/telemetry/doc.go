// Package telemetry records what the engine does: counters and histograms, which are
// created when a configuration is loaded, and decision records. On the request path it
// costs a few atomic additions.
package telemetry
