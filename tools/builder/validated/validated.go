// Package validated is what the build knows of a policy once its policy.yaml
// has been found valid: the file that the validate step writes and the
// generate step reads. No registry can be generated from anything else.
package validated

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/mod/semver"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/strictyaml"
)

// Policy is one validated policy version.
type Policy struct {
	// ImportPath is that of its Go package.
	ImportPath string `json:"importPath"`
	// File is the path of its policy.yaml, relative to where the build runs.
	File string `json:"file"`
	// NameAt and PhasesAt say where the definition gives its name and its
	// phases, so that later steps can point at them.
	NameAt   Position            `json:"nameAt"`
	PhasesAt map[string]Position `json:"phasesAt"`
	// Definition is the normalised definition: what goes into the registry.
	Definition *definition.Definition `json:"-"`
}

// Position is a place in a file, counted from 1.
type Position struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// written is a Policy as it is written down.
type written struct {
	Policy
	Definition json.RawMessage `json:"definition"`
}

// New validates the policy.yaml of the Go package importPath. The error is a
// [strictyaml.Diagnostics].
func New(importPath, file string, src []byte) (*Policy, error) {
	d, err := definition.Parse(file, src)
	if err != nil {
		return nil, err
	}
	root, err := strictyaml.Parse(file, src)
	if err != nil {
		return nil, err
	}
	p := &Policy{ImportPath: importPath, File: file, NameAt: position(root.At("name")), PhasesAt: map[string]Position{}, Definition: d}
	for _, phase := range root.At("phases").Items {
		p.PhasesAt[phase.Text()] = position(phase)
	}
	return p, nil
}

func position(node strictyaml.Node) Position {
	line, column := node.Position()
	return Position{line, column}
}

// MarshalJSON implements [json.Marshaler].
func (p *Policy) MarshalJSON() ([]byte, error) {
	d, err := json.Marshal(p.Definition)
	if err != nil {
		return nil, err
	}
	return json.Marshal(written{*p, d})
}

// ReadFile reads a policy that was written with [json.Marshal]. Its definition
// is checked again.
func ReadFile(path string) (*Policy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a validated policy: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var w written
	if err := decoder.Decode(&w); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", path, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("decoding %s: more than one value", path)
	}
	if w.Policy.Definition, err = definition.Load(w.Definition); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return &w.Policy, nil
}

// Sorted returns the policies sorted by name and version. The error is a
// [strictyaml.Diagnostics] where two policies are the same version of the same name.
func Sorted(policies []*Policy) ([]*Policy, error) {
	policies = slices.Clone(policies)
	slices.SortFunc(policies, func(a, b *Policy) int {
		return cmp.Or(
			cmp.Compare(a.Definition.Name, b.Definition.Name),
			semver.Compare(a.Definition.Version, b.Definition.Version),
			cmp.Compare(a.Definition.Version, b.Definition.Version),
			cmp.Compare(a.File, b.File),
		)
	})
	if err := duplicates(policies); err != nil {
		return nil, err
	}
	return policies, nil
}

func duplicates(sorted []*Policy) error {
	var found strictyaml.Diagnostics
	for i := 1; i < len(sorted); i++ {
		a, b := sorted[i-1], sorted[i]
		if a.Definition.Name != b.Definition.Name || a.Definition.Version != b.Definition.Version {
			continue
		}
		found.Add(strictyaml.Diagnostic{
			File: b.File, Line: b.NameAt.Line, Column: b.NameAt.Column, Path: "name",
			Problem: fmt.Sprintf("%s %s is in this bundle already: %s:%d:%d", b.Definition.Name, b.Definition.Version, a.File, a.NameAt.Line, a.NameAt.Column),
			Remedy:  "leave one of the two out of the bundle, or give it another name or version",
		})
	}
	return found.Err()
}
