// Package architecture holds the arrows between this repository's packages to the
// direction that docs/decisions/layers.md gives them.
package architecture

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the path that the repository's own packages begin with.
const Module = "policyengine.dev/"

// Edge says that one package imports another.
type Edge struct{ Importer, Imported string }

// rule forbids what a part of the tree may not import, with the reason.
type rule struct {
	// from is the part, relative to the module.
	from string
	// only are the parts of the module that it may import; nil is any. below, if not
	// empty, is the part of the module that the rule is about.
	only  []string
	below string
	// never are prefixes of import paths that it may not import.
	never []string
	why   string
}

var rules = []rule{
	{
		from: "sdk/", only: []string{"sdk/"},
		never: []string{"github.com/envoyproxy/", "google.golang.org/grpc"},
		why:   "the SDK knows nobody: a policy's author needs neither the runtime nor Envoy",
	},
	{
		from: "policies/", only: []string{"sdk/", "policies/"},
		never: []string{"github.com/envoyproxy/", "google.golang.org/grpc"},
		why:   "a policy knows the SDK alone",
	},
	{
		from: "proto/", only: []string{"proto/"},
		why: "a protobuf schema is what programs agree on; it knows none of them",
	},
	{
		from: "runtime/", only: []string{"runtime/", "sdk/", "proto/"},
		never: []string{"github.com/envoyproxy/go-control-plane/pkg/"},
		why:   "the runtime has no policies and no control plane in it",
	},
	{
		from: "runtime/telemetry/", only: []string{"runtime/telemetry/", "sdk/"},
		why: "telemetry is what everything else tells; it asks nobody",
	},
	{
		from: "runtime/host/", only: []string{"sdk/"},
		why: "the host is given to policies, not to the runtime",
	},
	{
		from: "runtime/worker/", only: []string{"runtime/worker/", "runtime/telemetry/", "sdk/"},
		never: []string{"github.com/envoyproxy/", "google.golang.org/grpc"},
		why:   "the worker runs chains and knows nothing of ext_proc",
	},
	{
		from: "runtime/bundle/", only: []string{"runtime/bundle/"},
		why: "a manifest describes a binary; the build, the engine and tools read it",
	},
	{
		from: "runtime/memory/", only: []string{"runtime/memory/"},
		why: "memory is counted for whoever asks; it asks nobody",
	},
	{
		from: "runtime/kernel/", only: []string{"runtime/kernel/", "runtime/worker/", "runtime/memory/", "runtime/telemetry/", "sdk/exchange/", "sdk/policy/"},
		never: []string{"github.com/envoyproxy/", "google.golang.org/grpc"},
		why:   "the kernel decides an exchange and knows no protocol, no policy, no configuration and no process",
	},
	{
		from: "runtime/extproc/", only: []string{"runtime/extproc/", "runtime/kernel/", "runtime/worker/", "runtime/memory/", "runtime/telemetry/", "sdk/exchange/", "sdk/policy/"},
		why: "extproc carries exchanges over ext_proc and knows no policy, no configuration and no process",
	},
	{
		from: "runtime/inmemory/", only: []string{"runtime/inmemory/", "runtime/kernel/", "runtime/worker/", "runtime/telemetry/", "sdk/exchange/"},
		never: []string{"github.com/envoyproxy/", "google.golang.org/grpc"},
		why:   "inmemory carries exchanges without a protocol",
	},
	{
		from: "runtime/trial/", only: []string{"runtime/inmemory/", "runtime/kernel/", "runtime/telemetry/", "sdk/exchange/", "sdk/strictyaml/"},
		never: []string{"github.com/envoyproxy/", "google.golang.org/grpc"},
		why:   "a trial is a carrier's user and knows no configuration",
	},
	{
		from: "runtime/explain/", only: []string{"runtime/explain/", "runtime/admin/", "runtime/extproc/negotiate/", "runtime/worker/", "sdk/policy/"},
		why: "explain describes a configuration that is compiled, and knows no process and no source of configurations",
	},
	{
		from: "tools/pectl/", below: "runtime/", only: []string{
			"runtime/admin/", "runtime/bundle/", "runtime/commandline/", "runtime/config/", "runtime/extproc/negotiate/", "runtime/extproc/wire/", "runtime/worker/",
		},
		why: "pectl imports runtime only through the packages that docs/decisions/layers.md names; what else it needs, the engine's binary does",
	},
	{
		from: "runtime/config/", only: []string{"runtime/config/", "runtime/worker/", "sdk/", "proto/"},
		why: "configuration feeds the worker",
	},
	{
		from: "runtime/configdiff/", only: []string{"runtime/worker/"},
		why: "a comparison is of specifications, whatever source they are from",
	},
	{
		from: "runtime/admin/", only: []string{"runtime/bundle/", "runtime/worker/", "runtime/memory/", "runtime/telemetry/", "sdk/"},
		why: "admin pages look at the worker",
	},
}

// sources are the packages that read configurations, and who in the runtime may import
// them. Tools that read the same files import them too.
const (
	sources       = "runtime/config/"
	sourcesUser   = "runtime/engine/"
	sourcesReason = "only the engine knows where configurations come from"
)

// Check returns a line for every import that a rule forbids, sorted.
func Check(edges []Edge) []string {
	var found []string
	for _, e := range edges {
		from, own := strings.CutPrefix(e.Importer+"/", Module)
		if !own {
			continue
		}
		to, within := strings.CutPrefix(e.Imported+"/", Module)
		has := func(prefix string) bool { return strings.HasPrefix(to, prefix) }
		if within && has(sources) && strings.HasPrefix(from, "runtime/") && !strings.HasPrefix(from, sources) && !strings.HasPrefix(from, sourcesUser) {
			found = append(found, fmt.Sprintf("%s imports %s: %s", e.Importer, e.Imported, sourcesReason))
		}
		for _, r := range rules {
			if !strings.HasPrefix(from, r.from) {
				continue
			}
			outside := within && has(r.below) && r.only != nil && !slices.ContainsFunc(r.only, has)
			never := slices.ContainsFunc(r.never, func(p string) bool { return strings.HasPrefix(e.Imported, p) })
			if outside || never {
				found = append(found, fmt.Sprintf("%s imports %s: %s", e.Importer, e.Imported, r.why))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
