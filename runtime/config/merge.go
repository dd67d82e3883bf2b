package config

import (
	"crypto/sha256"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/strictyaml"
)

// ParseChains decodes the files of one configuration together, in their order. The
// spec's version is a hash of them. The error is strictyaml.Diagnostics with every
// problem of every file; spec and positions then hold what could be decoded, so
// that the worker can look for more that is wrong: see [Update.Problems].
//
// What only a worker can tell (whether a policy exists, whether its parameters
// fit, whether a route's chain is there) is left to it.
func ParseChains(files []File) (worker.Spec, Positions, error) {
	documents := make([]*document, len(files))
	for i, f := range files {
		documents[i] = parse(f, sha256.Sum256(f.Src))
	}
	return merge(documents)
}

// merge makes one spec of several files.
func merge(documents []*document) (worker.Spec, Positions, error) {
	spec := worker.Spec{Version: version(documents)}
	at := Positions{documents: documents}
	var found strictyaml.Diagnostics
	var unknown *document // the first that says what becomes of unknown routes
	for _, d := range documents {
		found.Add(d.found...)
		at.incomplete = at.incomplete || d.broken
		spec.Chains = append(spec.Chains, d.chains...)
		spec.Routes = append(spec.Routes, d.routes...)
		at.chains = append(at.chains, len(spec.Chains))
		at.routes = append(at.routes, len(spec.Routes))
		switch {
		case !d.saysUnknown:
		case unknown != nil:
			if root, ok := d.root(); ok {
				found.Add(root.At("onUnknownRoute").KeyProblem("given twice, first in "+line(unknown.position("onUnknownRoute")), "keep one of the two"))
			}
		default:
			unknown = d
			spec.OnUnknownRoute = d.unknown
		}
	}
	found.Add(at.twice("chain", len(spec.Chains), func(i int) string { return spec.Chains[i].Name })...)
	found.Add(at.twice("route", len(spec.Routes), func(i int) string { return spec.Routes[i].Name })...)
	return spec, at, found.Err()
}

// twice reports the names that were given before.
func (p Positions) twice(what string, n int, name func(int) string) (found strictyaml.Diagnostics) {
	seen := make(map[string]int, n)
	path := func(i int) string { return fmt.Sprintf("%ss[%d].name", what, i) }
	for i := range n {
		first, twice := seen[name(i)]
		if !twice {
			seen[name(i)] = i
			continue
		}
		if name(i) == "" {
			continue // reported where it was read
		}
		before, _ := p.Position(path(first))
		found.Add(diagnostic(p, worker.Problem{
			Path: path(i), Remedy: "name or remove one of them",
			Message: fmt.Sprintf("a second %s of this name, the first is in %s", what, line(before)),
		}))
	}
	return found
}

func line(at worker.Position) string { return fmt.Sprintf("%s:%d", at.Source, at.Line) }

// document returns the file of an item and the item's index in it. ends are, for each
// file, how many items there are up to its end.
func (p Positions) document(ends []int, i int) (d *document, index int, ok bool) {
	f := sort.SearchInts(ends, i+1)
	if i < 0 || f >= len(ends) {
		return nil, 0, false
	}
	if f > 0 {
		i -= ends[f-1]
	}
	return p.documents[f], i, true
}

// find leads from a path of the spec to a file and the path in it.
func (p Positions) find(path string) (d *document, local string, ok bool) {
	for _, list := range []struct {
		name string
		ends []int
	}{{"chains", p.chains}, {"routes", p.routes}} {
		rest, found := strings.CutPrefix(path, list.name+"[")
		if !found {
			continue
		}
		digits, rest, _ := strings.Cut(rest, "]")
		i, err := strconv.Atoi(digits)
		if err != nil {
			return nil, "", false
		}
		d, i, ok = p.document(list.ends, i)
		return d, fmt.Sprintf("%s[%d]%s", list.name, i, rest), ok
	}
	// What is neither a chain nor a route is in whichever file has it.
	for _, d := range p.documents {
		if root, ok := d.root(); ok && root.AtPath(path).Kind() != strictyaml.Missing {
			return d, path, true
		}
	}
	return nil, "", false
}
