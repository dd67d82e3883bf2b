// Package editor makes the JSON Schema by which an editor completes and checks files of
// chains and routes for one engine: the schema of all such files, with the names, the
// versions and the parameters of the policies that the engine has.
package editor

import (
	_ "embed" // the schema of files
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/definition"
)

// files is docs/reference/chains.schema.json.
//
//go:embed chains.schema.json
var files []byte

type object = map[string]any

// Schema returns the JSON Schema (2020-12) of files for an engine with these policies. It
// leaves out patterns and formats that editors do not understand as the engine does. The
// engine refuses more than the schema: conditions, references between parts of a file, and
// what policies check by themselves.
func Schema(r *worker.Registry) ([]byte, error) {
	var root object
	if err := json.Unmarshal(files, &root); err != nil {
		return nil, fmt.Errorf("reading the schema of files: %w", err)
	}
	// It is not the published schema any more.
	delete(root, "$id")
	definitions, _ := root["$defs"].(object)
	step, _ := definitions["Step"].(object)
	properties, _ := step["properties"].(object)
	name, _ := properties["name"].(object)
	if name == nil {
		return nil, fmt.Errorf("reading the schema of files: it has no steps with a name")
	}
	names := []string{}
	var rules []object
	versions := map[string][]string{}
	for v := range r.Versions {
		if versions[v.Name] == nil {
			names = append(names, v.Name)
		}
		references := references(r, v)
		versions[v.Name] = append(versions[v.Name], references...)
		parameters, err := parameters(v)
		if err != nil {
			return nil, err
		}
		definitions[v.String()] = parameters
		then := object{"properties": object{"params": object{"$ref": pointer(v)}}}
		if needsParameters(v.Definition) {
			then["required"] = []string{"params"}
		}
		rules = append(rules, object{
			"if": object{
				"required":   []string{"name", "version"},
				"properties": object{"name": object{"const": v.Name}, "version": object{"enum": references}},
			},
			"then": then,
		})
	}
	name["enum"] = names
	for _, n := range slices.Backward(names) {
		rules = slices.Insert(rules, 0, object{
			"if":   object{"required": []string{"name"}, "properties": object{"name": object{"const": n}}},
			"then": object{"properties": object{"version": object{"enum": versions[n]}}},
		})
	}
	if len(rules) > 0 {
		step["allOf"] = rules
	}
	out, err := json.MarshalIndent(root, "", "  ")
	return append(out, '\n'), err
}

// references are the versions that a file may write for v: the full one, and the prefixes
// of which v is the highest.
func references(r *worker.Registry, v *worker.Version) []string {
	all := []string{v.Version}
	for _, prefix := range []string{semver.MajorMinor(v.Version), semver.Major(v.Version)} {
		if found, err := r.Resolve(v.Name, prefix); err == nil && found == v {
			all = append(all, prefix)
		}
	}
	return all
}

// needsParameters reports whether a step of the policy without params is an error.
func needsParameters(d *definition.Definition) bool {
	_, err := d.Validate(nil)
	return err != nil
}

// pointer is the reference to the schema of a version's parameters.
func pointer(v *worker.Version) string { return "#/$defs/" + v.String() }

// parameters is the schema of a version's parameters, as a part of the schema of files.
func parameters(v *worker.Version) (object, error) {
	if len(v.Definition.Parameters) == 0 {
		return object{"type": "object", "additionalProperties": false}, nil
	}
	var s any
	if err := json.Unmarshal(v.Definition.Parameters, &s); err != nil {
		return nil, fmt.Errorf("reading the parameters of %s: %w", v, err)
	}
	adapted, _ := adapt(s, pointer(v))
	o, ok := adapted.(object)
	if !ok {
		return nil, fmt.Errorf("reading the parameters of %s: their schema is no object", v)
	}
	return o, nil
}

// The keywords whose values are schemas: one, a list, or a mapping of names to them.
var (
	oneSchema = []string{"items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames", "unevaluatedProperties", "if", "then", "else", "not"}
	lists     = []string{"prefixItems", "allOf", "anyOf", "oneOf"}
	mappings  = []string{"$defs", "properties", "patternProperties", "dependentSchemas"}
)

// adapt makes a policy's schema part of another document: references lead to the place that
// it has there, and what an editor would understand in another way than the engine is left
// out. loose says that something was left out, so that the schema accepts more than before.
func adapt(s any, place string) (adapted any, loose bool) {
	o, ok := s.(object)
	if !ok {
		return s, false // true or false
	}
	delete(o, "$schema")
	if ref, ok := o["$ref"].(string); ok {
		o["$ref"] = place + strings.TrimPrefix(ref, "#")
	}
	loosened := map[string]bool{}
	within := func(keyword string, s any) any {
		s, loose := adapt(s, place)
		loosened[keyword] = loosened[keyword] || loose
		return s
	}
	for _, k := range oneSchema {
		if o[k] != nil {
			o[k] = within(k, o[k])
		}
	}
	for _, k := range lists {
		list, _ := o[k].([]any)
		for i := range list {
			list[i] = within(k, list[i])
		}
	}
	for _, k := range mappings {
		mapping, _ := o[k].(object)
		for name := range mapping {
			mapping[name] = within(k, mapping[name])
		}
	}
	for _, done := range []bool{dropTexts(o), dropNames(o), dropDefaulted(o)} {
		loosened[""] = loosened[""] || done
	}
	keepLoose(o, loosened)
	for _, is := range loosened {
		loose = loose || is
	}
	return o, loose
}

// keepLoose rewrites keywords by which a schema would accept less because a schema within it
// accepts more.
func keepLoose(o object, loosened map[string]bool) {
	if loosened["oneOf"] {
		// More than one may fit now.
		any, _ := o["anyOf"].([]any)
		if any == nil {
			o["anyOf"] = o["oneOf"]
		}
		delete(o, "oneOf")
	}
	if loosened["not"] {
		delete(o, "not")
	}
	if loosened["if"] {
		delete(o, "if")
		delete(o, "then")
		delete(o, "else")
	}
	if loosened["contains"] {
		delete(o, "maxContains")
	}
}

// dropTexts leaves out what an editor would understand in another way about texts.
func dropTexts(o object) (dropped bool) {
	if p, ok := o["pattern"].(string); ok && !portable(p) {
		delete(o, "pattern")
		dropped = true
	}
	if f, ok := o["format"].(string); ok && !standard[f] {
		delete(o, "format")
		dropped = true
	}
	return dropped
}

// dropNames leaves out patterns of names that an editor does not understand, and with them
// what holds for names that no pattern fits.
func dropNames(o object) (dropped bool) {
	patterns, _ := o["patternProperties"].(object)
	for name := range patterns {
		if !portable(name) {
			delete(patterns, name)
			delete(o, "additionalProperties")
			delete(o, "unevaluatedProperties")
			dropped = true
		}
	}
	return dropped
}

// dropDefaulted makes fields optional that have a default, which the engine fills in before
// it checks the parameters.
func dropDefaulted(o object) (dropped bool) {
	required, _ := o["required"].([]any)
	properties, _ := o["properties"].(object)
	left := slices.DeleteFunc(slices.Clone(required), func(name any) bool {
		n, _ := name.(string)
		p, _ := properties[n].(object)
		_, has := p["default"]
		return has
	})
	if len(left) == len(required) {
		return false
	}
	o["required"] = left
	return true
}

// standard are the formats that mean the same to editors and to the engine.
var standard = map[string]bool{
	"date": true, "date-time": true, "email": true, "hostname": true, "ipv4": true, "ipv6": true,
	"json-pointer": true, "time": true, "uri": true, "uri-reference": true, "uuid": true,
}

// notPortable finds what RE2 understands and JavaScript, in which editors match, does not,
// or understands in another way.
var notPortable = regexp.MustCompile(`\(\?[^:]|\\[AzQECpPx]|\[\[:`)

func portable(pattern string) bool { return !notPortable.MatchString(pattern) }
