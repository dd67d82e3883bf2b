package editor_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"policyengine.dev/runtime/config/editor"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

type nothing struct{}

func newNothing(struct{}, policy.Host) (*nothing, error) { return &nothing{}, nil }

func (*nothing) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

// schema is the schema for an engine with policies of these names, versions and parameters,
// each written as NAME VERSION PARAMETERS.
func schema(t *testing.T, policies ...string) *jsonschema.Schema {
	t.Helper()
	var entries []worker.Entry
	for _, p := range policies {
		name, rest, _ := strings.Cut(p, " ")
		version, parameters, ok := strings.Cut(rest, " ")
		if ok {
			parameters = `,"parameters":` + parameters
		}
		entries = append(entries, worker.Entry{Factory: policy.Define(newNothing), Definition: fmt.Sprintf(
			`{"apiVersion":"policyengine/v1","name":%q,"version":%q,"description":"For a test.","phases":["request_headers"]%s}`, name, version, parameters)})
	}
	registry, err := worker.NewRegistry(entries...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := editor.Schema(registry)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := editor.Schema(registry); !bytes.Equal(b, again) {
		t.Error("the schema is another one each time")
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("chains.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("chains.json")
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return s
}

// TestSchema proves what the schema says of a step, for the policies of an engine.
func TestSchema(t *testing.T) {
	object := func(properties string) string {
		return `{"type":"object","additionalProperties":false,"properties":{` + properties + `}}`
	}
	limit := []string{
		`limit v1.0.0 ` + object(`"n":{"type":"integer"}`), `limit v1.2.0 ` + object(`"n":{"type":"integer"},"per":{"type":"string"}`),
		`limit v2.0.0 ` + object(`"rate":{"type":"number"}`), "other v0.3.0",
	}
	one := func(parameters string) []string { return []string{"p v1.0.0 " + parameters} }
	for _, tt := range []struct {
		name     string
		policies []string
		step     string
		accepts  bool
	}{
		{"parameters of the full version", limit, `{"name":"limit","version":"v1.0.0","params":{"n":1}}`, true},
		{"a field of another version", limit, `{"name":"limit","version":"v1.0.0","params":{"per":"a"}}`, false},
		{"a prefix, which is the highest", limit, `{"name":"limit","version":"v1","params":{"per":"a"}}`, true},
		{"a longer prefix", limit, `{"name":"limit","version":"v1.0","params":{"per":"a"}}`, false},
		{"another major version", limit, `{"name":"limit","version":"v2","params":{"rate":0.5}}`, true},
		{"a wrong type", limit, `{"name":"limit","version":"v2","params":{"rate":"often"}}`, false},
		{"an unknown policy", limit, `{"name":"limits","version":"v2"}`, false},
		{"an unknown version", limit, `{"name":"limit","version":"v3"}`, false},
		{"the version of another policy", limit, `{"name":"other","version":"v1"}`, false},
		{"a policy without parameters", limit, `{"name":"other","version":"v0"}`, true},
		{"parameters of a policy without any", limit, `{"name":"other","version":"v0","params":{"n":1}}`, false},
		{"what every step has", limit, `{"name":"other","version":"v0","when":"true","mode":"shadow","timeout":"20ms"}`, true},
		{"what no step has", limit, `{"name":"other","version":"v0","whem":"true"}`, false},

		{"required parameters", one(`{"type":"object","required":["a"],"properties":{"a":{}}}`), `{"name":"p","version":"v1"}`, false},
		{"required and with a default", one(`{"type":"object","required":["a"],"properties":{"a":{"type":"string","default":"x"}}}`), `{"name":"p","version":"v1"}`, true},
		{"a reference", one(`{"type":"object","properties":{"a":{"$ref":"#/$defs/n"},"$ref":{"type":"string"}},"$defs":{"n":{"type":"integer"}}}`), `{"name":"p","version":"v1","params":{"a":"x"}}`, false},
		{"a field that is named like a keyword", one(`{"type":"object","properties":{"a":{"$ref":"#/$defs/n"},"$ref":{"type":"string"}},"$defs":{"n":{"type":"integer"}}}`), `{"name":"p","version":"v1","params":{"a":1,"$ref":"x"}}`, true},
		{"a length of time", one(`{"type":"object","properties":{"a":{"type":"string","format":"duration"}}}`), `{"name":"p","version":"v1","params":{"a":"200ms"}}`, true},
		{"an address", one(`{"type":"object","properties":{"a":{"type":"string","format":"ipv4"}}}`), `{"name":"p","version":"v1","params":{"a":"no"}}`, false},
		{"a pattern", one(`{"type":"object","properties":{"a":{"type":"string","pattern":"^[a-z]+$"}}}`), `{"name":"p","version":"v1","params":{"a":"A"}}`, false},
		{"a pattern that editors do not understand", one(`{"type":"object","properties":{"a":{"type":"string","pattern":"\\A(?i)[a-z]+\\z"}}}`), `{"name":"p","version":"v1","params":{"a":"A"}}`, true},
		{"alternatives that such patterns tell apart", one(`{"type":"object","properties":{"a":{"oneOf":[{"type":"string","pattern":"(?i)^a"},{"type":"string","pattern":"(?i)^b"}]}}}`), `{"name":"p","version":"v1","params":{"a":"a"}}`, true},
		{"what such a pattern rules out", one(`{"type":"object","properties":{"a":{"not":{"pattern":"(?i)^b"}}}}`), `{"name":"p","version":"v1","params":{"a":"a"}}`, true},
		{"a condition with such a pattern", one(`{"type":"object","properties":{"a":{"type":"string"}},"if":{"properties":{"a":{"pattern":"(?i)^b"}}},"then":{"required":["z"]}}`), `{"name":"p","version":"v1","params":{"a":"a"}}`, true},
		{"names by such a pattern", one(`{"type":"object","additionalProperties":false,"patternProperties":{"(?i)^x-":{}}}`), `{"name":"p","version":"v1","params":{"X-A":1}}`, true},
		{"no parameters at all", one(`{"type":"object","properties":{}}`), `{"name":"p","version":"v1","params":3}`, false},

		{"an engine without policies", nil, `{"name":"p","version":"v1"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := schema(t, tt.policies...)
			for _, list := range []string{`"policies":[%s]`, `"policies":[],"onReject":[%s]`} {
				file := fmt.Sprintf(`{"chains":[{"name":"c",%s}],"routes":[]}`, fmt.Sprintf(list, tt.step))
				value, err := jsonschema.UnmarshalJSON(strings.NewReader(file))
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Validate(value); (err == nil) != tt.accepts {
					t.Errorf("%s: %v", file, err)
				}
			}
		})
	}
}
