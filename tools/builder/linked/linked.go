// Package linked makes the manifest of a bundle from what the build knows: the validated policies, and the Go packages
// that are linked.
package linked

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"policyengine.dev/runtime/bundle"
	"policyengine.dev/tools/builder/validated"
)

// engineModule is the module of this repository. Bazel gives it no version.
const engineModule = "policyengine.dev"

// A Package is one Go package that is linked.
type Package struct {
	ImportPath string
	// Module is the module that the package is in, with Version empty if it is built from a checkout. Module.Path is
	// empty if the build knows no module.
	Module bundle.Module
}

// ReadFile reads what the rule policy_manifest writes: a package a line, as its import path, its module's path and its
// module's version, separated by tabs. The last two may be empty.
func ReadFile(path string) ([]Package, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the linked packages: %w", err)
	}
	var packages []Package
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		fields := strings.Split(line, "\t")
		if len(fields) != 3 || fields[0] == "" {
			return nil, fmt.Errorf("reading the linked packages: %s:%d: %q is not an import path, a module and a version, separated by tabs", path, i+1, line)
		}
		packages = append(packages, Package{ImportPath: fields[0], Module: bundle.Module{Path: fields[1], Version: fields[2]}})
	}
	return packages, nil
}

// Manifest returns the manifest of a bundle. The order of policies and packages does not matter. The error says which
// policies are the same version of the same name, or which module is linked in two versions.
func Manifest(name, goVersion string, policies []*validated.Policy, packages []Package) (*bundle.Manifest, error) {
	m := &bundle.Manifest{Schema: bundle.Schema, Bundle: name, Go: goVersion, Policies: []bundle.Policy{}, Modules: []bundle.Module{}}
	policies, err := validated.Sorted(policies)
	if err != nil {
		return nil, err
	}
	for _, p := range policies {
		definition, err := json.Marshal(p.Definition)
		if err != nil {
			return nil, fmt.Errorf("encoding the definition of %s: %w", p.Definition.Name, err)
		}
		m.Policies = append(m.Policies, bundle.Policy{
			Name: p.Definition.Name, Version: p.Definition.Version, ImportPath: p.ImportPath, Definition: bundle.Digest(definition),
		})
	}
	for _, p := range packages {
		module := p.Module
		switch {
		case module.Path == "" && strings.HasPrefix(p.ImportPath+"/", engineModule+"/"):
			module = bundle.Module{Path: engineModule, Version: bundle.Devel}
		case module.Path == "":
			m.Packages = append(m.Packages, p.ImportPath)
			continue
		case module.Version == "":
			module.Version = bundle.Devel
		}
		m.Modules = append(m.Modules, module)
	}
	slices.SortFunc(m.Modules, func(a, b bundle.Module) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Version, b.Version))
	})
	m.Modules = slices.Compact(m.Modules)
	slices.Sort(m.Packages)
	m.Packages = slices.Compact(m.Packages)
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("describing the bundle %s:\n%w", name, err)
	}
	return m, nil
}
