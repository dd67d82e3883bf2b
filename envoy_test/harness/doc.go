// Package harness runs what stands around an engine when it is used for real: an
// upstream, the engine's own process, and the pinned Envoy, in this order, on
// addresses that the operating system chooses.
//
// Each part is ready when its Start function returns, within the time that the
// caller's context allows, and is gone when its Stop or Close returns. A process
// that is started here does not outlive the one that started it, even where that
// one is killed. What the processes log is kept back; show it when something has
// failed.
package harness
