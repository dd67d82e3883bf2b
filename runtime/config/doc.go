// Package config reads an engine's configuration files.
//
// The static part, engine.yaml, is read once, at start-up: [LoadEngine]. It says
// where to listen, what the limits are, and where chains and routes come from.
//
// Chains and routes are the dynamic part. A [FileSource] reads them from one file,
// or from every YAML file of a directory, and goes on watching: each change is
// read whole, decoded into a [worker.Spec], and handed over with a [Positions],
// which leads from a problem that the worker finds back to file, line and column.
//
// Whatever is wrong with a file is reported at once, as strictyaml.Diagnostics.
// Nothing here is on the request path.
package config
