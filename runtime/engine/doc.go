// Package engine makes a process of the runtime: it reads engine.yaml, listens for
// Envoy, applies the configuration of chains and routes as it changes, tells its
// health, and ends without losing a request.
//
// The main package of a bundle is generated, and calls [Main] with the policies that
// the bundle was built from.
package engine
