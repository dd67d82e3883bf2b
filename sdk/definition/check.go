package definition

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/strictyaml"
)

const (
	maxName        = 63
	maxDescription = 4000
	maxAttributes  = 64
	maxAttribute   = 256
)

var (
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	// versionPattern is semver.org's form, less build metadata, which no Go
	// import path or image label can hold.
	versionPattern = regexp.MustCompile(`^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?$`)
)

// noParameters is the schema of a policy that says nothing of parameters.
var noParameters = json.RawMessage(`{"type":"object","additionalProperties":false}`)

// build checks what a definition says, and makes one of it. It is usable only
// where no problem was found.
func build(doc document) (*Definition, Problems) {
	b := builder{doc: doc, d: &Definition{
		Name: doc.Name, Version: doc.Version, Description: strings.TrimSpace(doc.Description), Body: Body(doc.Body),
		Parameters: doc.Parameters, Deprecated: strings.TrimSpace(doc.Deprecated),
	}}
	b.identity()
	b.phases()
	b.body()
	b.attributes()
	b.parameters()
	b.examples()
	return b.d, b.found
}

type builder struct {
	doc   document
	d     *Definition
	found Problems
}

func (b *builder) add(at place, message, remedy string) {
	b.found = append(b.found, at.problem(message, remedy))
}

func (b *builder) identity() {
	if b.doc.APIVersion != APIVersion {
		b.add(place{}.key("apiVersion"), "not a version that is known", "write "+APIVersion)
	}
	if !namePattern.MatchString(b.d.Name) || len(b.d.Name) > maxName {
		b.add(place{}.key("name"), "not a policy's name", fmt.Sprintf("write lower case letters and digits, words joined by hyphens, such as set-header, at most %d characters", maxName))
	}
	if !versionPattern.MatchString(b.d.Version) || len(b.d.Version) > maxName {
		b.add(place{}.key("version"), "not a full semantic version", "write it as v1.0.0 or v1.0.0-rc.1")
	}
	if b.d.Description == "" {
		b.add(place{}.key("description"), "is empty", "say what the policy does")
	}
	if len(b.d.Description) > maxDescription {
		b.add(place{}.key("description"), "too long", fmt.Sprintf("at most %d bytes; the rest belongs into the policy's README", maxDescription))
	}
}

func (b *builder) phases() {
	at := place{}.key("phases")
	if len(b.doc.Phases) == 0 {
		b.add(at, "no phase", "name those that the policy implements")
	}
	var names []string
	for p := policy.Phase(0); p < policy.PhaseCount; p++ {
		names = append(names, p.String())
	}
	for i, name := range b.doc.Phases {
		phase, ok := policy.ParsePhase(name)
		switch {
		case !ok:
			b.add(at.index(i), "unknown phase", strictyaml.Nearest(name, names))
		case b.d.Phases.Has(phase):
			b.add(at.index(i), "given twice", "keep one of the two")
		default:
			b.d.Phases = b.d.Phases.With(phase)
		}
	}
}

func (b *builder) body() {
	at := place{}.key("body")
	bodies := policy.Phases(policy.RequestBody, policy.RequestBodyChunks, policy.ResponseBody, policy.ResponseBodyChunks)
	hasBody := b.d.Phases&bodies != 0
	switch {
	case b.d.Body != NoBody && b.d.Body != RawBody && b.d.Body != DecodedBody:
		b.add(at, "not a form of a body", "write raw or decoded")
	case b.d.Body != NoBody && !hasBody && len(b.doc.Phases) > 0:
		b.add(at, "no body phase is declared", "leave body out, or declare the phase")
	case b.d.Body == NoBody && hasBody:
		b.d.Body = RawBody
	}
}

func (b *builder) attributes() {
	if b.doc.Attributes == nil {
		return
	}
	b.d.Attributes = *b.doc.Attributes
	at := place{}.key("attributes")
	b.attributeNames(at.key("request"), b.d.Attributes.Request)
	b.attributeNames(at.key("response"), b.d.Attributes.Response)
	if len(b.d.Attributes.Response) > 0 && b.d.Phases.Len() > 0 && !b.d.Phases.HasResponse() {
		b.add(at.key("response"), "no response phase is declared", "leave it out, or declare the phase that reads them")
	}
}

func (b *builder) attributeNames(at place, names []string) {
	if len(names) > maxAttributes {
		b.add(at, "too many attributes", fmt.Sprintf("at most %d", maxAttributes))
	}
	for i, name := range names {
		switch {
		case name == "" || len(name) > maxAttribute || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }):
			b.add(at.index(i), "not an attribute's name", fmt.Sprintf("write it as Envoy does, such as source.address, at most %d characters", maxAttribute))
		case slices.Contains(names[:i], name):
			b.add(at.index(i), "given twice", "keep one of the two")
		}
	}
}

func (b *builder) parameters() {
	if len(b.d.Parameters) == 0 {
		b.d.Parameters = noParameters
	}
	at := place{}.key("parameters")
	value, problems := parseValue(b.d.Parameters)
	if len(problems) == 0 {
		b.d.schema, problems = compileSchema(value)
	}
	for _, p := range problems {
		b.found = append(b.found, p.within(at))
	}
	if len(problems) > 0 {
		b.d.schema = nil
	}
}

func (b *builder) examples() {
	names := map[string]bool{}
	for i, example := range b.doc.Examples {
		at := place{}.key("examples").index(i)
		if example.Name == "" || names[example.Name] {
			b.add(at.key("name"), "the name is missing or not unique", "give each example its own name")
		}
		names[example.Name] = true
		if len(example.Params) == 0 {
			example.Params = json.RawMessage("{}")
		}
		b.d.Examples = append(b.d.Examples, example)
		for _, file := range slices.Sorted(maps.Keys(example.Files)) {
			if stands := example.Files[file]; file == "" || !filepath.IsLocal(filepath.FromSlash(stands)) || strings.Contains(stands, "\\") {
				b.add(at.key("files").key(file), "not a file beside policy.yaml", "write the path that the parameters name, and the file's path relative to policy.yaml, such as /etc/keys.json: testdata/keys.json")
			}
		}
		if b.d.schema == nil {
			continue
		}
		if _, err := b.d.Validate(example.Params); err != nil {
			for _, p := range err.(Problems) {
				b.found = append(b.found, p.within(at.key("params")))
			}
		}
	}
}

// misplaced compares the version with the directory that a definition is in.
func misplaced(file, version string) Problems {
	directory := path.Base(path.Dir(filepath.ToSlash(file)))
	if directory == "." || directory == "/" || directory == ".." || directory == version {
		return nil
	}
	return Problems{place{}.key("version").problem("the directory is named "+directory, "give both the same name: each version has its own directory and Go package")}
}
