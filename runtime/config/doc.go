// Package config reads an engine's configuration files.
//
// [LoadEngine] reads the static part, engine.yaml, once at start: where to listen, the
// limits, and where chains and routes come from.
//
// Chains and routes are the dynamic part. A [FileSource] reads them from one file, or from
// every YAML file of a directory, and watches for changes. It reads each version as a
// whole, decodes it into a [worker.Spec], and passes it on with [Positions], which map a
// problem that the worker finds to file, line and column.
//
// All problems of a file are reported at once, as strictyaml.Diagnostics. Nothing in this
// package is on the request path.
package config
