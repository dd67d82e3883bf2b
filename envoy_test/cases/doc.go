// Package cases is a table of what the engine does behind the pinned Envoy.
//
// Each file of testdata is a [Suite] in YAML: an Envoy, chains, and exchanges with
// what is expected of each, Envoy's own counts among it. Running one starts an
// upstream, an engine and an Envoy; see [Suite.Run]. A new case is a few lines of
// YAML.
//
// Each suite or exchange names the lines of lines.yaml that it shows: what a
// processor has to know of ext_proc in Envoy v1.36.2. The table of both is
// docs/ext_proc.md, which the test of this package writes again with -update.
package cases
