package config

import (
	"context"
	"errors"
	"strings"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/strictyaml"
)

// Update is what a source brings: a whole configuration of chains and routes.
type Update struct {
	// Spec is the configuration. Where Err is not nil it is only what could be
	// decoded: look for further problems in it, and do not use it.
	Spec worker.Spec
	// Positions say where the Spec's paths stand. They are the Spec's own; nil where
	// the source could not be read.
	Positions worker.Positions
	// Err is why the source could not be read or decoded: an error of the file
	// system, or strictyaml.Diagnostics.
	Err error
	// LeftOut is why the Spec does not have the newest version of everything, where the
	// source puts parts of a configuration in force; or nil. Err is nil then.
	LeftOut error
}

// Source is where chains and routes come from.
type Source interface {
	// Run calls apply with the configuration as it is, and then with each that
	// follows, one at a time, until ctx ends (Run returns nil then). apply
	// returns nil where the configuration is in force now, and otherwise why
	// it was refused. A refused first configuration ends Run with that error,
	// unless the source is told to wait; after that Run goes on, and what was
	// in force stays.
	Run(ctx context.Context, apply func(ctx context.Context, update Update) error) error
}

// Problems joins what the worker finds wrong with the spec to what was wrong with
// the source. It returns nil where there is neither. Where the source could not be
// decoded whole, problems of the worker that only follow from that are left out.
func (u Update) Problems(found worker.Problems) error {
	var decoding, all strictyaml.Diagnostics
	if u.Err != nil && !errors.As(u.Err, &decoding) {
		return u.Err // the source was not read, so there is nothing else to judge
	}
	all.Add(decoding...)
	for _, problem := range found {
		d := diagnostic(u.Positions, problem)
		if u.Err == nil || !u.follows(d, decoding) {
			all.Add(d)
		}
	}
	return all.Err()
}

// follows reports whether d may be there only because of what could not be decoded:
// the same place, one inside of it, or a reference to a chain whose name was lost.
func (u Update) follows(d strictyaml.Diagnostic, decoding strictyaml.Diagnostics) bool {
	reference := strings.HasPrefix(d.Path, "routes[") && strings.HasSuffix(d.Path, "].chain")
	if l, ok := u.Positions.(losing); ok && reference && l.lost() {
		return true
	}
	for _, first := range decoding {
		if reference && losesChain(first.Path) {
			return true
		}
		if first.File != d.File || !strings.HasPrefix(d.Path, first.Path) {
			continue
		}
		if rest := d.Path[len(first.Path):]; first.Path == "" || rest == "" || rest[0] == '.' || rest[0] == '[' {
			return true
		}
	}
	return false
}

// losesChain reports whether a problem at path may have cost the spec a chain's
// name: one of the file as a whole, of its chains, or of a misspelt field.
func losesChain(path string) bool {
	if strings.HasPrefix(path, "routes") {
		return false
	}
	return !strings.Contains(path, ".") || strings.Count(path, ".") == 1 && strings.HasSuffix(path, "].name")
}
