// Package host is what the runtime gives to policies: the real clock, an HTTP client
// with limits, secrets by reference, and metric handles. See policy.Host.
package host
