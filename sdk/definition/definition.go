package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

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
	// Attributes are those of Envoy's attributes that the policy's code reads,
	// whatever its parameters are.
	Attributes Attributes
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
	// Files are the files that the parameters name, each with the file that
	// stands for it in tests: a path relative to policy.yaml.
	Files map[string]string `json:"files,omitempty" yaml:"files"`
}

// Attributes are names of Envoy's attributes, such as source.address.
type Attributes struct {
	// Request are those that come with the request. They are known to the
	// response phases too.
	Request []string `json:"request,omitempty" yaml:"request"`
	// Response are those that come with the response, such as upstream.address.
	Response []string `json:"response,omitempty" yaml:"response"`
}

// Reads returns the attributes that an instance of the policy reads: those that the
// definition declares, and those that instance names as a [policy.AttributeReader].
// Both lists are sorted, without duplicates. A nil definition declares none.
func (d *Definition) Reads(instance any) Attributes {
	var a Attributes
	if d != nil {
		a.Request, a.Response = slices.Clone(d.Attributes.Request), slices.Clone(d.Attributes.Response)
	}
	if r, ok := instance.(policy.AttributeReader); ok {
		request, response := r.ReadsAttributes()
		a.Request, a.Response = append(a.Request, request...), append(a.Response, response...)
	}
	for _, names := range []*[]string{&a.Request, &a.Response} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	return a
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
	Attributes  *Attributes     `json:"attributes,omitempty" yaml:"attributes"`
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
// checked again, as Parse does.
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
	if len(d.Attributes.Request)+len(d.Attributes.Response) > 0 {
		doc.Attributes = &d.Attributes
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
