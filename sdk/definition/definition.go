package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/strictyaml"
)

// APIVersion is the only version of policy.yaml's form.
const APIVersion = "policyengine/v1"

// Definition is a valid policy.yaml. Make one with [Parse] or [Load]; it is
// not to be modified, and is safe for concurrent use.
type Definition struct {
	// Name is the policy's, lower case words joined by hyphens.
	Name string
	// Version is a full semantic version with a leading v, such as v1.2.3 or
	// v2.0.0-rc.1, as package golang.org/x/mod/semver compares them.
	Version string
	// Description is what the policy does. It is not empty.
	Description string
	// Phases are those in which the policy says it runs: at least one.
	Phases policy.PhaseSet
	// Body says in which form body phases see a body.
	Body Body
	// Parameters is the JSON Schema of the parameters, keys in the file's order.
	Parameters json.RawMessage
	// Examples are parameters that are valid, as they are written.
	Examples []Example
	// Deprecated is a message where the policy should no longer be used, and
	// otherwise empty.
	Deprecated string

	schema *compiled
}

// Example is an example of parameters.
type Example struct {
	// Name says what it is an example of, and is unique in the definition.
	Name string `json:"name" yaml:"name,required"`
	// Params are parameters as they are written, without defaults.
	Params json.RawMessage `json:"params" yaml:"params"`
}

// Body is the form in which body phases see a body.
type Body string

// The forms of a body. NoBody goes with definitions that have no body phase.
const (
	NoBody      Body = ""
	RawBody     Body = "raw"     // the bytes as they are on the wire, compressed or not
	DecodedBody Body = "decoded" // with the content coding undone, and done again
)

// document is a definition as it is written, in YAML or JSON.
type document struct {
	APIVersion  string          `json:"apiVersion" yaml:"apiVersion,required"`
	Name        string          `json:"name" yaml:"name,required"`
	Version     string          `json:"version" yaml:"version,required"`
	Description string          `json:"description" yaml:"description,required"`
	Phases      []string        `json:"phases" yaml:"phases,required"`
	Body        string          `json:"body,omitempty" yaml:"body"`
	Parameters  json.RawMessage `json:"parameters,omitempty" yaml:"parameters"`
	Examples    []Example       `json:"examples,omitempty" yaml:"examples"`
	Deprecated  string          `json:"deprecated,omitempty" yaml:"deprecated"`
}

// Parse reads a policy.yaml. file is its path, for messages; where it names a
// directory, that has to be named as the version.
//
// The error is a [strictyaml.Diagnostics] with everything that is wrong, at
// its line and column.
func Parse(file string, src []byte) (*Definition, error) {
	root, err := strictyaml.Parse(file, src)
	if err != nil {
		return nil, err
	}
	var doc document
	var found strictyaml.Diagnostics
	found.AddError(root, root.Decode(&doc))
	decoded := map[string]bool{}
	for _, d := range found {
		decoded[d.Path] = true
	}
	d, problems := build(doc)
	for _, diagnostic := range append(problems, misplaced(file, doc.Version)...).At(root) {
		// What could not be decoded is wrong for that reason alone.
		if !decoded[diagnostic.Path] {
			found.Add(diagnostic)
		}
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	return d, nil
}

// Load reads a definition that [Definition.MarshalJSON] has written. It is
// checked anew, as Parse does.
func Load(data []byte) (*Definition, error) {
	var doc document
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		return nil, fmt.Errorf("decoding a policy definition: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decoding a policy definition: more than one value")
	}
	d, problems := build(doc)
	if err := problems.err(); err != nil {
		return nil, fmt.Errorf("checking the policy definition %s: %w", doc.Name, err)
	}
	return d, nil
}

// MarshalJSON gives the definition in its normalised form: one for each
// definition, whatever the file's layout, for [Load].
func (d *Definition) MarshalJSON() ([]byte, error) {
	doc := document{
		APIVersion: APIVersion, Name: d.Name, Version: d.Version, Description: d.Description, Body: string(d.Body),
		Parameters: d.Parameters, Examples: d.Examples, Deprecated: d.Deprecated,
	}
	for _, phase := range d.Phases.List() {
		doc.Phases = append(doc.Phases, phase.String())
	}
	return json.Marshal(doc)
}

// Validate checks parameters and returns them with defaults filled in, keys
// sorted: the form in which a policy decodes them. No parameters (nil or
// empty) count as {}. The error is a [Problems] with everything that is wrong.
func (d *Definition) Validate(params json.RawMessage) (json.RawMessage, error) {
	if len(params) == 0 {
		params = json.RawMessage("{}")
	}
	value, problems := parseValue(params)
	if len(problems) > 0 {
		return nil, problems.err()
	}
	value, ok := d.schema.root.fillIn(value)
	if !ok {
		return nil, Problems{place{}.problem("too large with its defaults filled in", "write fewer items")}
	}
	if err := d.schema.validator.Validate(value); err != nil {
		return nil, d.schema.explain(value, err).err()
	}
	normalised, err := json.Marshal(value)
	if err != nil {
		return nil, Problems{place{}.problem("encoding the parameters: "+err.Error(), "")}
	}
	return normalised, nil
}
