package worker

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/strictyaml"
)

// Entry is one policy version that is compiled in, as a generated registry names it.
type Entry struct {
	// Definition is the normalised definition (JSON) that the build validated.
	Definition string
	// Factory makes the instances.
	Factory policy.Builder
}

// Version is one policy version that is compiled in. It is immutable.
type Version struct {
	Name, Version string
	// Definition describes the version and its parameters.
	Definition *definition.Definition
	factory    policy.Builder
	phases     policy.PhaseSet
	// details are the response code details for the engine's reasons, and what
	// those for a policy's own reason begin with.
	details       [ReasonCount]string
	detailsPrefix string
}

// Phases are the phases in which the version runs.
func (v *Version) Phases() policy.PhaseSet { return v.phases }

// String is name@version.
func (v *Version) String() string { return v.Name + "@" + v.Version }

// Registry holds the policy versions that are compiled in. It is frozen once made,
// and safe for concurrent use.
type Registry struct {
	// byName holds the versions of each policy, highest first.
	byName map[string][]*Version
	names  []string
}

// NewRegistry returns the registry of the entries. What a build has not refused is
// refused here, all problems at once: two entries for one version, and a definition
// that does not declare exactly the phases that the Go type implements.
func NewRegistry(entries ...Entry) (*Registry, error) {
	r := &Registry{byName: map[string][]*Version{}}
	var problems []error
	for i, e := range entries {
		v, err := newVersion(e)
		if err != nil {
			problems = append(problems, fmt.Errorf("registering policy %d: %w", i, err))
			continue
		}
		if slices.ContainsFunc(r.byName[v.Name], func(o *Version) bool { return o.Version == v.Version }) {
			problems = append(problems, fmt.Errorf("registering %s: the bundle has it twice", v))
			continue
		}
		r.byName[v.Name] = append(r.byName[v.Name], v)
	}
	for name, versions := range r.byName {
		r.names = append(r.names, name)
		slices.SortFunc(versions, func(a, b *Version) int { return semver.Compare(b.Version, a.Version) })
	}
	slices.Sort(r.names)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return r, nil
}

func newVersion(e Entry) (*Version, error) {
	d, err := definition.Load([]byte(e.Definition))
	if err != nil {
		return nil, fmt.Errorf("loading its definition: %w", err)
	}
	if e.Factory == nil {
		return nil, fmt.Errorf("%s@%s has no factory", d.Name, d.Version)
	}
	v := &Version{Name: d.Name, Version: d.Version, Definition: d, factory: e.Factory, phases: e.Factory.Phases()}
	if declared := d.Phases; declared != v.phases {
		return nil, fmt.Errorf("%s declares the phases [%s] and its type %s implements [%s]",
			v, declared, e.Factory.TypeName(), v.phases)
	}
	v.detailsPrefix = detailsPrefix + v.String() + "."
	for r := range v.details {
		v.details[r] = v.detailsPrefix + Reason(r).String()
	}
	return v, nil
}

// Versions calls yield with every version, by name, the highest of each name first.
func (r *Registry) Versions(yield func(*Version) bool) {
	for _, name := range r.names {
		for _, v := range r.byName[name] {
			if !yield(v) {
				return
			}
		}
	}
}

// ResolveError says why a policy's name and version lead to no version.
type ResolveError struct {
	// Field is what is wrong: "name" or "version".
	Field string
	// Message says what is wrong, and Remedy what there is.
	Message, Remedy string
}

// Error is message and remedy in a line.
func (e *ResolveError) Error() string { return e.Message + "; " + e.Remedy }

// Resolve returns the version that a configuration means: "v1.2.3" that one and no
// other, "v1.2" or "v1" the highest release such that is compiled in. The error is a
// *[ResolveError], which names what there is.
func (r *Registry) Resolve(name, version string) (*Version, error) {
	versions := r.byName[name]
	if len(versions) == 0 {
		e := &ResolveError{"name", fmt.Sprintf("no policy is called %q", name), strictyaml.Nearest(name, r.names)}
		if len(r.names) == 0 {
			e.Remedy = "this engine was built without policies"
		}
		return nil, e
	}
	if !semver.IsValid(version) {
		return nil, &ResolveError{"version", fmt.Sprintf("%q is not a version", version),
			fmt.Sprintf("write one like %s, or v1 or v1.2 for the highest such", versions[0].Version)}
	}
	full := semver.Canonical(version) == version
	for _, v := range versions {
		switch {
		case full && v.Version == version:
			return v, nil
		case !full && semver.Prerelease(v.Version) == "" && strings.HasPrefix(v.Version, version+"."):
			return v, nil
		}
	}
	var have []string
	for _, v := range versions {
		have = append(have, v.Version)
	}
	return nil, &ResolveError{"version", fmt.Sprintf("%s has no version %s", name, version), "compiled in are " + strings.Join(have, ", ")}
}
