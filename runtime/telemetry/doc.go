// Package telemetry holds what the engine tells about itself: counters and
// histograms whose handles are made when a configuration is loaded, and decision
// records. What is on the request path here costs a few atomic additions.
package telemetry
