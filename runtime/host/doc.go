// Package host implements policy.Host for the engine: the real clock, an HTTP client with
// limits, secrets by reference, files, backends, and metrics.
package host
