package jsonschemavalidation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaURL stands for the one schema that is being compiled.
const schemaURL = "policyengine:schema"

// maxPlaces is how many broken rules an answer names.
const maxPlaces = 10

// schema is a compiled JSON Schema. It is immutable and safe for concurrent use.
type schema struct {
	validator *jsonschema.Schema
	// names are the property names that the schema has: what an answer may repeat,
	// since they are not the client's own.
	names map[string]bool
}

// place is one broken rule.
type place struct {
	// At is a JSON pointer into the body, in which a name that the schema does not
	// have is "*".
	At string `json:"at"`
	// Rule is the schema's keyword, such as "maximum".
	Rule string `json:"rule"`
}

// noLoader keeps the compiler from any file or network.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema refers to nothing outside itself")
}

// compileSchema compiles a schema. An error reads on after its path.
func compileSchema(source json.RawMessage) (*schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(source))
	if err != nil {
		return nil, fmt.Errorf(": %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.AssertFormat()
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, fmt.Errorf(": %w", err)
	}
	validator, err := c.Compile(schemaURL)
	if err != nil {
		return nil, problem(err)
	}
	s := &schema{validator: validator, names: map[string]bool{}}
	s.collect(doc)
	return s, nil
}

// problem puts what is wrong with a schema into one line, with its place.
func problem(err error) error {
	var invalid *jsonschema.SchemaValidationError
	var inner *jsonschema.ValidationError
	if !errors.As(err, &invalid) || !errors.As(invalid.Err, &inner) {
		return fmt.Errorf(": %w", err)
	}
	for len(inner.Causes) > 0 {
		inner = inner.Causes[len(inner.Causes)-1]
	}
	at := ""
	for _, token := range inner.InstanceLocation {
		at += "." + token
	}
	rule := "schema"
	if path := inner.ErrorKind.KeywordPath(); len(path) > 0 {
		rule = path[len(path)-1]
	}
	return fmt.Errorf("%s: not a valid JSON Schema 2020-12: it violates the rule %q of the metaschema", at, rule)
}

// collect notes every name under "properties" and "required".
func (s *schema) collect(doc any) {
	switch doc := doc.(type) {
	case map[string]any:
		for keyword, v := range doc {
			if properties, ok := v.(map[string]any); ok && (keyword == "properties" || keyword == "dependentSchemas") {
				for name := range properties {
					s.names[name] = true
				}
			}
			if required, ok := v.([]any); ok && keyword == "required" {
				for _, name := range required {
					if name, ok := name.(string); ok {
						s.names[name] = true
					}
				}
			}
			s.collect(v)
		}
	case []any:
		for _, v := range doc {
			s.collect(v)
		}
	}
}

// validate returns the broken rules, none where the body fits. The error is errNotJSON,
// or says that the body could not be judged.
func (s *schema) validate(body []byte) ([]place, error) {
	v, err := decode(body)
	if err != nil {
		return nil, err
	}
	err = s.validator.Validate(v)
	var invalid *jsonschema.ValidationError
	switch {
	case err == nil:
		return nil, nil
	case !errors.As(err, &invalid):
		// The library's other errors are about the schema, never about the body.
		return nil, fmt.Errorf("validating a body: %w", err)
	}
	places := s.places(v, invalid, nil)
	slices.SortFunc(places, func(a, b place) int {
		return strings.Compare(a.At+"\x00"+a.Rule, b.At+"\x00"+b.Rule)
	})
	return slices.Compact(places), nil
}

// places appends the innermost broken rules.
func (s *schema) places(v any, e *jsonschema.ValidationError, all []place) []place {
	if len(all) == maxPlaces {
		return all
	}
	if len(e.Causes) == 0 {
		path := e.ErrorKind.KeywordPath()
		rule := "schema"
		if len(path) > 0 {
			rule = path[0]
		}
		return append(all, place{At: s.pointer(v, e.InstanceLocation), Rule: rule})
	}
	for _, cause := range e.Causes {
		all = s.places(v, cause, all)
	}
	return all
}

// pointer is the JSON pointer to a location in v. Names that the schema does not have
// are the client's own, and not repeated.
func (s *schema) pointer(v any, location []string) string {
	var b strings.Builder
	for _, token := range location {
		b.WriteByte('/')
		switch inner := v.(type) {
		case []any:
			b.WriteString(token)
			if i, err := strconv.Atoi(token); err == nil && i < len(inner) {
				v = inner[i]
			}
		case map[string]any:
			v = inner[token]
			if s.names[token] {
				b.WriteString(escape.Replace(token))
			} else {
				b.WriteByte('*')
			}
		}
	}
	return b.String()
}

// escape escapes a token of a JSON pointer (RFC 6901, section 3).
var escape = strings.NewReplacer("~", "~0", "/", "~1")

// withPlaces is the body of an answer that names broken rules (RFC 9457).
func withPlaces(broken []place) []byte {
	b, err := json.Marshal(struct {
		Title  string  `json:"title"`
		Status int     `json:"status"`
		Detail string  `json:"detail"`
		Reason string  `json:"reason"`
		Errors []place `json:"errors"`
	}{"Bad Request", 400, "The body does not match the schema.", ReasonInvalid, broken})
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return b
}
