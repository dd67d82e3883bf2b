// Package registry generates the Go source that names a bundle's policies: the
// main package of its binary, and that of the program that builds each
// policy's examples.
package registry

import (
	"encoding/json"
	"fmt"
	"go/format"
	"strconv"
	"strings"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/tools/builder/validated"
)

// Program is what the generated main package does with the policies.
type Program struct {
	// Package is imported and its Main called with the entries.
	Package string
	// Entry is the type of an entry, qualified by the name of its package, and
	// EntryPackage the package's path; empty where it is Package.
	Entry, EntryPackage string
	// Manifest reports that Main takes the bundle's manifest before the entries.
	Manifest bool
}

// Engine is the bundle's binary.
var Engine = Program{
	Package: "policyengine.dev/runtime/engine",
	Entry:   "worker.Entry", EntryPackage: "policyengine.dev/runtime/worker",
	Manifest: true,
}

// Examples is the program that builds each example of each definition.
var Examples = Program{Package: "policyengine.dev/tools/builder/examples", Entry: "examples.Entry"}

// Generate returns the source of a main package over the policies, which may
// be none. The order of policies does not matter: entries are sorted by name
// and version. The manifest is the text that a program with Program.Manifest is
// given; other programs ignore it.
//
// The error is that of [validated.Sorted] where two policies are the same
// version of the same name.
func Generate(program Program, policies []*validated.Policy, manifest []byte) ([]byte, error) {
	policies, err := validated.Sorted(policies)
	if err != nil {
		return nil, err
	}
	g := &generator{program: program, policies: policies, manifest: manifest}
	source, err := g.source()
	if err != nil {
		return nil, err
	}
	formatted, err := format.Source(source)
	if err != nil {
		return nil, fmt.Errorf("formatting the generated source: %w\n%s", err, source)
	}
	return formatted, nil
}

type generator struct {
	program  Program
	policies []*validated.Policy
	manifest []byte
	b        strings.Builder
}

func (g *generator) source() ([]byte, error) {
	g.line("// Code generated from the validated definitions of a bundle's policies. DO NOT EDIT.\n")
	// The binary names its source files: this one must not bring in the path of
	// the build's output.
	g.line("//line main.go:4")
	g.line("package main")
	g.line("import (")
	g.line("%q", g.program.Package)
	if g.program.EntryPackage != "" {
		g.line("%q", g.program.EntryPackage)
	}
	if len(g.policies) > 0 {
		g.line("%q", "policyengine.dev/sdk/policy")
	}
	for _, p := range g.policies {
		g.line("%s %q", alias(p), p.ImportPath)
	}
	g.line(")")
	g.line("func main() {")
	manifest := ""
	if g.program.Manifest {
		manifest = strconv.Quote(string(g.manifest)) + ", "
	}
	g.line("%s.Main(%s[]%s{", g.program.Package[strings.LastIndexByte(g.program.Package, '/')+1:], manifest, g.program.Entry)
	for _, p := range g.policies {
		d, err := json.Marshal(p.Definition)
		if err != nil {
			return nil, fmt.Errorf("encoding the definition of %s: %w", p.Definition.Name, err)
		}
		g.line("{Definition: %s, Factory: %s.Policy},", strconv.Quote(string(d)), alias(p))
	}
	g.line("})")
	g.line("}")
	g.asserts()
	return []byte(g.b.String()), nil
}

// asserts has the compiler check each declared phase against the Go type, and
// report at the place in policy.yaml that declares it. A compiler counts on
// from the last line directive, so these come last.
func (g *generator) asserts() {
	for _, p := range g.policies {
		g.line("// The phases that %s declares.", p.File)
		g.line("func _() {")
		for _, phase := range p.Definition.Phases.List() {
			at := p.PhasesAt[phase.String()]
			g.line("policy.%s /*line %s:%d:%d*/ (%s.Policy)", assertions[phase], p.File, at.Line, at.Column-1, alias(p))
		}
		g.line("}")
	}
}

var assertions = [policy.PhaseCount]string{
	policy.RequestHeaders:     "AssertRequestHeaders",
	policy.RequestBody:        "AssertRequestBody",
	policy.RequestBodyChunks:  "AssertRequestBodyChunks",
	policy.RequestTrailers:    "AssertRequestTrailers",
	policy.ResponseHeaders:    "AssertResponseHeaders",
	policy.ResponseBody:       "AssertResponseBody",
	policy.ResponseBodyChunks: "AssertResponseBodyChunks",
	policy.ResponseTrailers:   "AssertResponseTrailers",
}

func (g *generator) line(format string, args ...any) { fmt.Fprintf(&g.b, format+"\n", args...) }

// alias names the policy's package after the policy, so that a compiler's
// message does too: set_header_v1_0_0.
func alias(p *validated.Policy) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(p.Definition.Name + "_" + p.Definition.Version)
}
