// Package engine is the engine's process: it reads engine.yaml, listens for Envoy, applies
// the configuration of chains and routes as it changes, reports health, and exits without
// losing a request.
//
// The generated main package of a bundle calls [Main] with the bundle's policies.
package engine
