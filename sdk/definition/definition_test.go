package definition_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/strictyaml"
)

const good = `apiVersion: policyengine/v1
name: jwt-validation
version: v2.0.0
description: |
  Verifies a bearer token.
phases: [response_headers, request_headers, request_body]
body: decoded
parameters:
  type: object
  required: [issuers]
  additionalProperties: false
  properties:
    leeway: {type: string, format: duration, default: 30s}
    cache:
      type: object
      default: {}
      additionalProperties: false
      properties:
        size: {$ref: "#/$defs/size"}
    issuers:
      type: array
      minItems: 1
      items:
        allOf: [{$ref: "#/$defs/issuer"}]
        properties:
          name: {type: string}
        unevaluatedProperties: false
    hooks:
      type: array
      items:
        oneOf:
        - type: string
        - type: object
          required: [url]
          additionalProperties: false
          properties:
            url: {type: string, format: uri}
            token: {type: string, x-secret: true}
  $defs:
    size: {type: integer, minimum: 1, default: 1000}
    issuer:
      required: [uri]
      properties:
        uri: {type: string, format: uri}
        key: {type: string, x-secret: true, minLength: 4}
        algorithm: {enum: [RS256, ES256], default: RS256}
examples:
- name: one issuer
  params:
    issuers: [{uri: "https://example.com"}]
deprecated: use v3
`

func parse(t *testing.T, src string) *definition.Definition {
	t.Helper()
	d, err := definition.Parse("jwt-validation/v2.0.0/policy.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// simple is a definition with a schema, in flow style for one-line cases.
func simple(schema string) string {
	return "apiVersion: policyengine/v1\nname: a\nversion: v1.0.0\ndescription: A.\nphases: [request_headers]\nparameters:\n  " +
		strings.ReplaceAll(schema, "\n", "\n  ") + "\n"
}

func TestParse(t *testing.T) {
	d := parse(t, good)
	if d.Name != "jwt-validation" || d.Version != "v2.0.0" || d.Description != "Verifies a bearer token." || d.Body != definition.DecodedBody || d.Deprecated != "use v3" ||
		d.Phases != policy.Phases(policy.RequestHeaders, policy.RequestBody, policy.ResponseHeaders) || len(d.Examples) != 1 {
		t.Errorf("got %+v", d)
	}
	if !strings.HasPrefix(string(d.Parameters), `{"type":"object","required":["issuers"],`) {
		t.Errorf("the schema's keys are not in the file's order: %s", d.Parameters)
	}
}

// TestNormalisedForm: what the registry embeds reads back as the same
// definition, and does not depend on the layout of the file.
func TestNormalisedForm(t *testing.T) {
	d := parse(t, good)
	first, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := definition.Load(first)
	if err != nil {
		t.Fatal(err)
	}
	second, err := json.Marshal(loaded)
	if err != nil || string(first) != string(second) {
		t.Errorf("not stable: %v\n%s\n%s", err, first, second)
	}
	relaid, err := json.Marshal(parse(t, "# a comment\n"+strings.Replace(good, "[response_headers, request_headers, request_body]", "\n- request_body\n- request_headers\n- response_headers", 1)))
	if err != nil || string(first) != string(relaid) {
		t.Errorf("the layout shows: %v\n%s\n%s", err, first, relaid)
	}
	if _, err := loaded.Validate(json.RawMessage(`{"issuers": [{"uri": "https://a.example"}]}`)); err != nil {
		t.Errorf("the loaded definition refuses good parameters: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	data, err := json.Marshal(parse(t, good))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ old, new, want string }{
		"an unknown field":   {`"apiVersion"`, `"x":1,"apiVersion"`, `unknown field "x"`},
		"a bad version":      {`"v2.0.0"`, `"v2"`, "version: not a full semantic version"},
		"a bad schema":       {`"minItems":1`, `"minItems":-1`, "parameters.properties.issuers.minItems: too small; at least 0"},
		"more than one":      {`{"apiVersion"`, `{}{"apiVersion"`, "more than one value"},
		"what is no JSON":    {`{"apiVersion"`, `{`, "decoding a policy definition"},
		"a duplicate in it":  {`"minItems":1`, `"minItems":1,"minItems":2`, "parameters.properties.issuers.minItems: given twice"},
		"an invalid example": {`"https://example.com"`, `7`, "examples[0].params.issuers[0].uri: expected a string, found a number"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := definition.Load([]byte(strings.Replace(string(data), test.old, test.new, 1))); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// TestParseRefuses holds the text of what an author sees, position included.
func TestParseRefuses(t *testing.T) {
	object := "type: object\n"
	tests := map[string]struct{ src, want string }{
		"everything at once": {`apiVersion: policyengine/v2
name: JWT
version: "2"
description: ""
phases: [request_header, request_headers, request_headers]
body: plain
parameter: {}
parameters: {type: objekt}
examples:
- {name: a}
- {name: a, parms: {}}
deprecated: true
`, `
p.yaml:1:13: apiVersion: not a version that is known; write policyengine/v1
p.yaml:2:7: name: not a policy's name; write lower case letters and digits, words joined by hyphens, such as set-header, at most 63 characters
p.yaml:3:10: version: not a full semantic version; write it as v1.0.0 or v1.0.0-rc.1
p.yaml:4:14: description: is empty; say what the policy does
p.yaml:5:10: phases[0]: unknown phase; did you mean "request_headers"?
p.yaml:5:43: phases[2]: given twice; keep one of the two
p.yaml:6:7: body: not a form of a body; write raw or decoded
p.yaml:7:1: parameter: unknown field; did you mean "parameters"?
p.yaml:8:13: parameters: parameters are an object; write type: object
p.yaml:8:20: parameters.type: not one of the values that are possible; write one of array, boolean, integer, null, number, object, string
p.yaml:11:10: examples[1].name: the name is missing or not unique; give each example its own name
p.yaml:11:13: examples[1].parms: unknown field; did you mean "params"?
p.yaml:12:13: deprecated: expected a string, found a boolean; put it in quotes`},
		"nothing given": {"{}", `
p.yaml:1:1: apiVersion: missing; this field is required
p.yaml:1:1: description: missing; this field is required
p.yaml:1:1: name: missing; this field is required
p.yaml:1:1: phases: missing; this field is required
p.yaml:1:1: version: missing; this field is required`},
		"body without a body phase":     {simple(object) + "body: raw", `p.yaml:9:7: body: no body phase is declared; leave body out, or declare the phase`},
		"unknown keyword":               {simple(object + "requried: [a]"), `p.yaml:8:3: parameters.requried: unknown keyword of JSON Schema 2020-12; did you mean "required"?`},
		"keyword of the wrong type":     {simple(object + "required: a"), `p.yaml:8:13: parameters.required: expected a list, found a string`},
		"negative length":               {simple(object + "properties: {a: {maxLength: -1}}"), `p.yaml:8:31: parameters.properties.a.maxLength: too small; at least 0`},
		"unknown format":                {simple(object + "properties: {a: {format: url}}"), `p.yaml:8:28: parameters.properties.a.format: unknown format; did you mean "uri"? the formats are backend, cidr, date, date-time, duration, email, header-name, hostname, ipv4, ipv6, json-pointer, regex, time, uri, uri-reference, uri-template, uuid`},
		"bad pattern":                   {simple(object + "properties: {a: {pattern: '('}}"), `p.yaml:8:29: parameters.properties.a.pattern: not a regular expression; write a regular expression in RE2's syntax`},
		"bad pattern of names":          {simple(object + "patternProperties: {'(': true}"), `p.yaml:8:28: parameters.patternProperties["("]: not a regular expression; write a regular expression in RE2's syntax`},
		"subschema that is none":        {simple(object + "properties: {a: 1}"), `p.yaml:8:19: parameters.properties.a: expected a boolean or a mapping, found a number`},
		"remote reference":              {simple(object + "properties: {a: {$ref: 'https://example.com/x.json'}}"), `p.yaml:8:26: parameters.properties.a.$ref: leads out of the schema; refer to #/$defs/NAME: nothing is ever fetched`},
		"file reference":                {simple(object + "properties: {a: {$ref: 'file:///etc/passwd'}}"), `p.yaml:8:26: parameters.properties.a.$ref: leads out of the schema; refer to #/$defs/NAME: nothing is ever fetched`},
		"dangling reference":            {simple(object + "properties: {a: {$ref: '#/$defs/on'}}\n$defs: {one: true}"), `p.yaml:8:26: parameters.properties.a.$ref: leads to no schema in this file; did you mean "#/$defs/one"?`},
		"reference to no schema":        {simple(object + "properties: {a: {$ref: '#/type'}}"), `p.yaml:8:26: parameters.properties.a.$ref: leads to no schema in this file`},
		"reference to itself":           {simple(object + "properties: {a: {$ref: '#'}}"), `p.yaml:7:3: parameters: the schema refers back to itself here; describe a fixed number of levels`},
		"reference in a circle":         {simple(object + "$defs: {a: {$ref: '#/$defs/b'}, b: {allOf: [{$ref: '#/$defs/a'}]}}"), `p.yaml:8:14: parameters.$defs.a: the schema refers back to itself here; describe a fixed number of levels`},
		"identity":                      {simple(object + "$id: 'https://example.com/x'"), `p.yaml:8:3: parameters.$id: this keyword is not supported here; a schema stands for itself; leave it out`},
		"other draft":                   {simple(object + "$schema: http://json-schema.org/draft-07/schema#"), `p.yaml:8:12: parameters.$schema: not the supported version of JSON Schema; leave it out, or write https://json-schema.org/draft/2020-12/schema`},
		"other draft, inside":           {simple(object + "properties: {a: {$schema: 'http://json-schema.org/draft-07/schema#'}}"), `p.yaml:8:29: parameters.properties.a.$schema: only the whole schema names its version; leave it out`},
		"keyword of an older draft":     {simple(object + "definitions: {}"), `p.yaml:8:3: parameters.definitions: this keyword is not supported here; write $defs`},
		"list of parameters":            {simple("type: array"), `p.yaml:7:3: parameters: parameters are an object; write type: object`},
		"default of another type":       {simple(object + "properties: {a: {type: string, default: 1}}"), `p.yaml:8:43: parameters.properties.a.default: the default is not valid: expected a string, found a number; put it in quotes`},
		"default invalid inside":        {simple(object + "properties: {a: {type: object, default: {b: {}}, properties: {b: {required: [c]}}}}"), `p.yaml:8:47: parameters.properties.a.default.b.c: the default is not valid: missing; this field is required`},
		"default of an alternative":     {simple(object + "properties: {a: {anyOf: [{properties: {b: {default: 1}}}]}}"), `p.yaml:8:55: parameters.properties.a.anyOf[0].properties.b.default: this default would not be filled in; move it out of anyOf, oneOf, not, if, then, else, dependentSchemas, contains and unevaluated...`},
		"default of a shared branch":    {simple(object + "properties: {a: {$ref: '#/$defs/d'}, b: {oneOf: [{$ref: '#/$defs/d'}]}}\n$defs: {d: {default: 1}}"), `p.yaml:9:24: parameters.$defs.d.default: this default would not be filled in; move it out of anyOf, oneOf, not, if, then, else, dependentSchemas, contains and unevaluated...`},
		"default of everything":         {simple(object + "default: {}"), `p.yaml:8:12: parameters.default: the parameters as a whole have no default; give the properties theirs`},
		"default of a secret":           {simple(object + "properties: {a: {x-secret: true, default: hunter2}}"), `p.yaml:8:45: parameters.properties.a.default: a secret is never part of a definition; leave default out, or x-secret`},
		"secret mark of another type":   {simple(object + "properties: {a: {x-secret: 1}}"), `p.yaml:8:30: parameters.properties.a.x-secret: expected a boolean; write true or false`},
		"example that is invalid":       {simple(object+"additionalProperties: false\nproperties: {name: {type: string}}") + "examples:\n- {name: x, params: {nam: y}}\n- {name: y, params: {name: 1}}", "p.yaml:11:22: examples[0].params.nam: unknown field; did you mean \"name\"?\np.yaml:12:28: examples[1].params.name: expected a string, found a number; put it in quotes"},
		"example that is not a mapping": {simple(object) + "examples:\n- {name: x, params: []}", `p.yaml:10:21: examples[0].params: expected a mapping, found a list`},
		"attributes": {simple(object) + "attributes: {request: [source.address, source.address, 'a b'], response: [upstream.address]}", `
p.yaml:9:40: attributes.request[1]: given twice; keep one of the two
p.yaml:9:56: attributes.request[2]: not an attribute's name; write it as Envoy does, such as source.address, at most 256 characters
p.yaml:9:74: attributes.response: no response phase is declared; leave it out, or declare the phase that reads them`},
		"a file elsewhere": {simple(object) + "examples:\n- {name: x, files: {/run/a: ../a, /run/b: /b, /run/c: testdata/c}}", `
p.yaml:10:29: examples[0].files["/run/a"]: not a file beside policy.yaml; write the path that the parameters name, and the file's path relative to policy.yaml, such as /etc/keys.json: testdata/keys.json
p.yaml:10:43: examples[0].files["/run/b"]: not a file beside policy.yaml; write the path that the parameters name, and the file's path relative to policy.yaml, such as /etc/keys.json: testdata/keys.json`},
		"syntax error":            {"a: [", `p.yaml:1:1: did not find expected node content; write valid YAML`},
		"unknown field in a list": {simple(object) + "examples:\n- {name: x, parms: {}}", `p.yaml:10:13: examples[0].parms: unknown field; did you mean "params"?`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := definition.Parse("p.yaml", []byte(test.src))
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), fmt.Sprint(err)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestNamesAndVersions(t *testing.T) {
	src := simple("type: object")
	for version, ok := range map[string]bool{
		"v1.0.0": true, "v0.0.1": true, "v10.20.30": true, "v1.0.0-rc.1": true, "v1.0.0-0a.b-c": true,
		"v1": false, "v1.0": false, "1.0.0": false, "v01.0.0": false, "v1.0.0-": false, "v1.0.0-01": false, "v1.0.0+build": false, "v1.0.0 ": false, "v1.0.0-a..b": false,
	} {
		_, err := definition.Parse("p.yaml", []byte(strings.Replace(src, "v1.0.0", `"`+version+`"`, 1)))
		if (err == nil) != ok {
			t.Errorf("version %s: %v", version, err)
		}
	}
	for name, ok := range map[string]bool{
		"a": true, "set-header": true, "a1-2b": true, strings.Repeat("a", 63): true,
		"A": false, "a--b": false, "-a": false, "a-": false, "a_b": false, "1a": false, "a/b": false, "ä": false, strings.Repeat("a", 64): false,
	} {
		_, err := definition.Parse("p.yaml", []byte(strings.Replace(src, "name: a", "name: "+name, 1)))
		if (err == nil) != ok {
			t.Errorf("name %s: %v", name, err)
		}
	}
}

// TestDirectory: a version is its own directory, and named alike.
func TestDirectory(t *testing.T) {
	src := []byte(simple("type: object"))
	for file, want := range map[string]string{
		"policy.yaml":                   "<nil>",
		"./policy.yaml":                 "<nil>",
		"/policy.yaml":                  "<nil>",
		"../policy.yaml":                "<nil>",
		"policies/a/v1.0.0/policy.yaml": "<nil>",
		"a/v1.0.1/policy.yaml":          "a/v1.0.1/policy.yaml:3:10: version: the directory is named v1.0.1; give both the same name: each version has its own directory and Go package",
	} {
		if _, err := definition.Parse(file, src); fmt.Sprint(err) != want {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestBodyIsRawUnlessSaid(t *testing.T) {
	d, err := definition.Parse("p.yaml", []byte(strings.Replace(simple("type: object"), "request_headers", "response_body_chunks", 1)))
	if err != nil || d.Body != definition.RawBody {
		t.Errorf("got %v, %v", d, err)
	}
}

func TestNoParameters(t *testing.T) {
	d, err := definition.Parse("p.yaml", []byte(strings.Split(simple(""), "parameters:")[0]))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Validate(nil); err != nil || string(got) != "{}" {
		t.Errorf("no parameters: %s, %v", got, err)
	}
	if _, err := d.Validate(json.RawMessage(`{"a":1}`)); fmt.Sprint(err) != "a: unknown field" {
		t.Errorf("a parameter: %v", err)
	}
}

func TestValidateFillsInDefaults(t *testing.T) {
	got, err := parse(t, good).Validate(json.RawMessage(`{"issuers": [{"uri": "https://a.example"}, {"uri": "https://b.example", "algorithm": "ES256"}]}`))
	want := `{"cache":{"size":1000},"issuers":[{"algorithm":"RS256","uri":"https://a.example"},{"algorithm":"ES256","uri":"https://b.example"}],"leeway":"30s"}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	// A default that is filled in twice must not be one value.
	d, err := definition.Parse("p.yaml", []byte(simple("type: object\nadditionalProperties: {properties: {a: {default: {}, properties: {b: {default: 1}}}}}")))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := d.Validate(json.RawMessage(`{"x":{},"y":{"a":{"b":2}},"z":{}}`)); string(got) != `{"x":{"a":{"b":1}},"y":{"a":{"b":2}},"z":{"a":{"b":1}}}` {
			t.Errorf("got %s, %v", got, err)
		}
	}
}

// TestValidateRefuses: each problem has its path, says what would be right,
// and quotes no value.
func TestValidateRefuses(t *testing.T) {
	d := parse(t, good)
	tests := map[string]struct{ params, want string }{
		"everything at once": {`{"lewway": 1, "leeway": "soon", "cache": {"size": 0}, "issuers": [{"key": "abc"}, {"uri": "x", "algorithm": "none", "extra": 1}]}`, `
cache.size: too small; at least 1
issuers[0].key: too short; at least 4 characters
issuers[0].uri: missing; this field is required
issuers[1].algorithm: not one of the values that are possible; write one of RS256, ES256
issuers[1].extra: unknown field; known are algorithm, key, name and uri
issuers[1].uri: not of the form uri; write an absolute URI, such as https://example.com/keys
leeway: not of the form duration; write a number with a unit, such as 200ms or 1h30m
lewway: unknown field; did you mean "leeway"?`},
		"beside an allOf":             {`{"issuers": [{"uri": "https://a.example", "nam": 1}]}`, `issuers[0].nam: unknown field; did you mean "name"?`},
		"the alternative meant":       {`{"issuers": [{"uri": "a:b"}], "hooks": [{"token": "x"}, {"url": "https://a.example"}]}`, `hooks[0].url: missing; this field is required`},
		"no alternative":              {`{"issuers": [{"uri": "a:b"}], "hooks": [1]}`, `hooks[0]: expected a string or a mapping, found a number`},
		"no object":                   {`[]`, `expected a mapping, found a list`},
		"null":                        {`null`, `expected a mapping, found an empty value (null)`},
		"no JSON":                     {`{`, `not valid JSON; at byte 1`},
		"two values":                  {`{}{}`, `not valid JSON; at byte 3`},
		"a key given twice":           {`{"issuers": [], "issuers": []}`, `issuers: given twice; keep one of the two`},
		"a number that is too costly": {`{"issuers": [], "cache": {"size": 1e999999999}}`, `cache.size: a number out of range; it must fit a 64-bit floating-point number, in at most 64 characters`},
		"too deep":                    {`{"a": ` + strings.Repeat(`[`, 70) + strings.Repeat(`]`, 70) + `}`, `a` + strings.Repeat("[0]", 63) + `: nested too deeply; at most 64 levels are read`},
		"too long":                    {`"` + strings.Repeat("x", 1<<20) + `"`, `has 1048578 bytes; at most 1048576 are read`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := d.Validate(json.RawMessage(test.params))
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), fmt.Sprint(err)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestMessages holds what each keyword says when a value fails it.
func TestMessages(t *testing.T) {
	for schema, test := range map[string]struct{ value, want string }{
		`{maxLength: 1}`:                             {`"secret"`, `v: too long; at most 1 characters`},
		`{pattern: "^a$"}`:                           {`"secret"`, `v: not of the right form; it must match ^a$`},
		`{minItems: 1}`:                              {`[]`, `v: too few items; at least 1`},
		`{maxItems: 1}`:                              {`[1,2]`, `v: too many items; at most 1`},
		`{minProperties: 1}`:                         {`{}`, `v: too few fields; at least 1`},
		`{maxProperties: 1}`:                         {`{"a":1,"b":1}`, `v: too many fields; at most 1`},
		`{uniqueItems: true}`:                        {`[1,"secret","secret"]`, `v: the items 1 and 2 (counted from 0) are the same; keep one of the two`},
		`{contains: {const: 1}}`:                     {`["secret"]`, `v: too few items are of the kind that is needed`},
		`{contains: {const: 1}, maxContains: 1}`:     {`[1,1]`, `v: too many items are of the kind that is limited; at most 1`},
		`{maximum: 1.5}`:                             {`4711`, `v: too large; at most 1.5`},
		`{exclusiveMinimum: 1}`:                      {`1`, `v: too small; more than 1`},
		`{exclusiveMaximum: 1e300}`:                  {`1e300`, `v: too large; less than 1e+300`},
		`{multipleOf: 2}`:                            {`4711`, `v: not a multiple; a multiple of 2`},
		`{const: 1}`:                                 {`"secret"`, `v: not the value that is possible; write 1`},
		`{enum: [1, null, {a: 1}]}`:                  {`"secret"`, `v: not one of the values that are possible; write what the schema lists`},
		`{not: {type: string}}`:                      {`"secret"`, `v: has a form that is excluded`},
		`false`:                                      {`"secret"`, `v: not allowed here`},
		`{propertyNames: {format: header-name}}`:     {`{"a b":"secret"}`, `v["a b"]: the name of this field is not allowed; write a header name: letters, digits and !#$%&'*+-.^_` + "`" + `|~`},
		`{dependentRequired: {a: [b]}}`:              {`{"a":"secret"}`, `v.b: missing; it is required beside a`},
		`{oneOf: [{type: string}, {minLength: 1}]}`:  {`"secret"`, `v: fits several alternatives that exclude each other; keep to one of them`},
		`{type: [integer, "null"]}`:                  {`"secret"`, `v: expected an empty value (null) or a whole number, found a string`},
		`{contentEncoding: base64}`:                  {`"secret!"`, `v: not encoded as it should be; write base64`},
		`{contentMediaType: application/json}`:       {`"secret"`, `v: not of the right media type; write application/json`},
		`{if: {type: string}, then: {maxLength: 1}}`: {`"secret"`, `v: too long; at most 1 characters`},
		`{dependentSchemas: {a: {required: [b]}}}`:   {`{"a":"secret"}`, `v.b: missing; this field is required`},
		`{anyOf: [{properties: {t: {const: 1}}, required: [x]}, {properties: {t: {const: 2}}, required: [y]}]}`: {`{"t":2}`, `v.y: missing; this field is required`},
	} {
		d, err := definition.Parse("p.yaml", []byte(simple("type: object\nproperties:\n  v: "+schema)))
		if err != nil {
			t.Errorf("%s: %v", schema, err)
			continue
		}
		if _, err := d.Validate(json.RawMessage(`{"v":` + test.value + `}`)); fmt.Sprint(err) != test.want {
			t.Errorf("%s:\n got %v\nwant %s", schema, err, test.want)
		}
	}
}

func TestFormats(t *testing.T) {
	for format, values := range map[string][2]string{ // good ones, bad ones
		"uri":           {"https://example.com/a?b#c urn:x:y spiffe://a/b", "/a example.com https:// %zz"},
		"duration":      {"200ms 1h30m 0s 1.5s -1s", "PT1S 1 soon 1d"},
		"hostname":      {"example.com a localhost", "-a a_b a..b " + strings.Repeat("a", 64)},
		"regex":         {"^a+$ .", "( a(?=b)"},
		"header-name":   {"X-Request-Id authorization", ":path a:b ü"},
		"cidr":          {"10.0.0.0/8 2001:db8::/32 192.0.2.1/32", "10.0.0.1/8 10.0.0.0 10.0.0.0/33 x"},
		"ipv4":          {"192.0.2.1", "192.0.2 ::1"},
		"ipv6":          {"::1", "192.0.2.1"},
		"uuid":          {"123e4567-e89b-12d3-a456-426614174000", "123"},
		"email":         {"a@example.com", "a"},
		"date":          {"2006-01-02", "2006-13-02"},
		"date-time":     {"2006-01-02T15:04:05Z", "2006-01-02"},
		"time":          {"15:04:05Z", "15:04"},
		"uri-reference": {"/a ../b https://a", "\\"},
		"uri-template":  {"/users/{id}", "/users/{id"},
		"json-pointer":  {"/a/0", "a"},
	} {
		d, err := definition.Parse("p.yaml", []byte(simple("type: object\nproperties: {v: {type: string, format: "+format+"}}")))
		if err != nil {
			t.Fatal(err)
		}
		for i, list := range values {
			for _, value := range strings.Fields(list) {
				params, _ := json.Marshal(map[string]string{"v": value})
				if _, err := d.Validate(params); (err == nil) != (i == 0) {
					t.Errorf("%s %s: %v", format, value, err)
				}
			}
		}
	}
}

// TestProblemsAtPositions: parameters in a configuration file are refused
// with the file's lines.
func TestProblemsAtPositions(t *testing.T) {
	d := parse(t, good)
	root, err := strictyaml.Parse("engine.yaml", []byte("chains:\n- policies:\n  - params:\n      issuers:\n      - uri: 1\n      lewway: 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	params := root.At("chains", 0, "policies", 0, "params")
	_, err = d.Validate(params.JSON())
	problems, ok := err.(definition.Problems)
	if !ok {
		t.Fatalf("got %v", err)
	}
	want := `engine.yaml:5:14: chains[0].policies[0].params.issuers[0].uri: expected a string, found a number; put it in quotes
engine.yaml:6:7: chains[0].policies[0].params.lewway: unknown field; did you mean "leeway"?`
	if got := problems.At(params).Err().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if problems[0].Pointer != "/issuers/0/uri" {
		t.Errorf("pointer %s", problems[0].Pointer)
	}
}

func TestRedact(t *testing.T) {
	d := parse(t, good)
	for params, want := range map[string]string{
		`{"issuers":[{"uri":"https://a","key":"hunter2"}],"leeway":"1s"}`: `{"issuers":[{"key":"[redacted]","uri":"https://a"}],"leeway":"1s"}`,
		`{"hooks":["x",{"url":"https://a","token":"hunter2"}]}`:           `{"hooks":["x",{"token":"[redacted]","url":"https://a"}]}`,
		`{"kye":"hunter2","issuers":{"key":"hunter2"}}`:                   `{"issuers":{"key":"[redacted]"},"kye":"[redacted]"}`,
		`{"key": hunter2`: `"[redacted]"`,
		`{"issuers":[{"key":"hunter2","key":"hunter2"}]}`: `"[redacted]"`,
	} {
		if got := string(d.Redact(json.RawMessage(params))); got != want {
			t.Errorf("%s\n got %s\nwant %s", params, got, want)
		}
	}
	free, err := definition.Parse("p.yaml", []byte(simple("type: object\nproperties:\n  labels: {additionalProperties: true}\n  keys: {additionalProperties: {x-secret: true}, patternProperties: {^public: true}}\n  pair: {prefixItems: [true, {x-secret: true}], contains: {type: string}}\n  loose: {type: object}\n  not: {not: {properties: {s: {x-secret: true}}}, additionalProperties: true}\n  open: {x-open: true, properties: {s: {x-secret: true}}}\n  both: {allOf: [{x-open: true}, {x-secret: true}]}")))
	if err != nil {
		t.Fatal(err)
	}
	got := string(free.Redact(json.RawMessage(`{"labels":{"a":1},"keys":{"a":"hunter2","public-a":"b"},"pair":[1,"hunter2",3],"loose":{"a":"hunter2"},"not":{"s":"hunter2","t":1},"open":{"a":{"b":["c"]},"s":"hunter2"},"both":{"a":"hunter2"}}`)))
	if want := `{"both":"[redacted]","keys":{"a":"[redacted]","public-a":"b"},"labels":{"a":1},"loose":{"a":"[redacted]"},"not":{"s":"[redacted]","t":1},"open":{"a":{"b":["c"]},"s":"[redacted]"},"pair":[1,"[redacted]",3]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestRedactHidesWhatIsDerivedFromSecrets proves that writeOnly hides as x-secret does,
// that credentials in URLs are hidden wherever the text is, and that Secrets gives what
// has been hidden.
func TestRedactHidesWhatIsDerivedFromSecrets(t *testing.T) {
	d, err := definition.Parse("p.yaml", []byte(simple("type: object\nproperties:\n  a: {items: {}}\n  w: {writeOnly: true}\n  s: {x-secret: true, writeOnly: false}")))
	if err != nil {
		t.Fatal(err)
	}
	for params, test := range map[string]struct {
		want           string
		marked, inURLs []string
	}{
		`{"w":"hunter2"}`: {`{"w":"[redacted]"}`, []string{"hunter2"}, nil},
		`{"s":"hunter2"}`: {`{"s":"[redacted]"}`, []string{"hunter2"}, nil},
		`{"s":["hunter2",{"x":"hunter3"},"short"]}`:               {`{"s":"[redacted]"}`, []string{"hunter2", "hunter3"}, nil},
		`{"s":{"file":"/run/secrets/key"}}`:                       {`{"s":"[redacted]"}`, nil, nil},
		`{"s":{"file":"hunter2","x":"hunter3"}}`:                  {`{"s":"[redacted]"}`, []string{"hunter2", "hunter3"}, nil},
		`{"a":"https://idp.example/keys?token=hunter2"}`:          {`{"a":"https://idp.example/keys?[redacted]"}`, nil, []string{"token=hunter2"}},
		`{"a":"redis://user:hunter2@cache:6379/0"}`:               {`{"a":"redis://[redacted]@cache:6379/0"}`, nil, []string{"user:hunter2"}},
		`{"a":["https://a.example/@b","https://a.example/#sig"]}`: {`{"a":["https://a.example/@b","https://a.example/#[redacted]"]}`, nil, nil},
		`{"a":"see https://u:p@ss@a?q=hunter2 or 'https://b?c'"}`: {`{"a":"see https://[redacted]@a?[redacted] or 'https://b?[redacted]'"}`, nil, []string{"u:p@ss", "q=hunter2"}},
		`{"a":"https://a.example/p"}`:                             {`{"a":"https://a.example/p"}`, nil, nil},
		`{"a":"://"}`:                                             {`{"a":"://"}`, nil, nil},
	} {
		if got := string(d.Redact(json.RawMessage(params))); got != test.want {
			t.Errorf("%s\n got %s\nwant %s", params, got, test.want)
		}
		marked, inURLs := d.Secrets(json.RawMessage(params))
		slices.Sort(marked)
		if !slices.Equal(marked, test.marked) || !slices.Equal(inURLs, test.inURLs) {
			t.Errorf("%s: secrets are %q and %q, want %q and %q", params, marked, inURLs, test.marked, test.inURLs)
		}
	}
}

// TestCostIsBounded: a small schema that stands for an enormous one, or makes
// an enormous amount of work, is refused.
func TestCostIsBounded(t *testing.T) {
	var doubling, many strings.Builder
	doubling.WriteString("type: object\n$defs:\n  a0: {type: string}\n")
	for i := 1; i < 60; i++ {
		fmt.Fprintf(&doubling, "  a%d: {anyOf: [{$ref: '#/$defs/a%d'}, {$ref: '#/$defs/a%d'}]}\n", i, i-1, i-1)
	}
	many.WriteString("type: object\nproperties:\n")
	for i := range 3000 {
		fmt.Fprintf(&many, "  a%d: {}\n", i)
	}
	for want, schema := range map[string]string{
		"with every $ref written out the schema is too large": doubling.String(),
		"the schema has too many subschemas; at most 2000":    many.String(),
	} {
		if _, err := definition.Parse("p.yaml", []byte(simple(schema))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %.300v, want %s", err, want)
		}
	}
}

// TestDefaultsAreBounded: a short list of parameters does not become an
// enormous one by its defaults.
func TestDefaultsAreBounded(t *testing.T) {
	d, err := definition.Parse("p.yaml", []byte(simple("type: object\nproperties:\n  v:\n    type: array\n    items:\n      type: object\n      properties:\n        a: {default: ["+strings.Repeat("x,", 1000)+"]}\n")))
	if err != nil {
		t.Fatal(err)
	}
	for items, want := range map[int]string{100: "<nil>", 300: "too large with its defaults filled in; write fewer items"} {
		params := `{"v":[{}` + strings.Repeat(",{}", items-1) + `]}`
		if _, err := d.Validate(json.RawMessage(params)); fmt.Sprint(err) != want {
			t.Errorf("%d items: %v", items, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(simple("type: object\n$defs: {a: {$ref: '#/$defs/a'}}\nproperties: {a: {$ref: '#/$defs/a~1b%25'}}")))
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 8<<10 {
			return
		}
		d, err := definition.Parse("p.yaml", src)
		if err != nil {
			return
		}
		data, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := definition.Load(data); err != nil {
			t.Fatalf("the normalised form is refused: %v\n%s", err, data)
		}
		for _, example := range d.Examples {
			normalised, err := d.Validate(example.Params)
			if err != nil {
				t.Fatalf("an example that was valid is not: %v", err)
			}
			again, err := d.Validate(normalised)
			if err != nil || string(again) != string(normalised) {
				t.Fatalf("defaults do not settle: %v\n%s\n%s", err, normalised, again)
			}
			d.Redact(example.Params)
		}
	})
}

func FuzzValidate(f *testing.F) {
	d, err := definition.Parse("p.yaml", []byte(good))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"issuers":[{"uri":"https://a.example","key":"hunter2"}],"hooks":["a",{"url":"b:c"}]}`))
	f.Add([]byte(`{"cache":{"size":1e5},"issuers":null}`))
	f.Fuzz(func(t *testing.T, params []byte) {
		normalised, err := d.Validate(params)
		if masked := d.Redact(params); !json.Valid(masked) {
			t.Fatalf("not JSON: %s", masked)
		}
		if err != nil {
			if problems, ok := err.(definition.Problems); !ok || len(problems) == 0 {
				t.Fatalf("not problems: %v", err)
			}
			return
		}
		if again, err := d.Validate(normalised); err != nil || string(again) != string(normalised) {
			t.Fatalf("not stable: %s, %s, %v", normalised, again, err)
		}
	})
}

// Attributes and files survive the normalised form, and an instance adds to the
// attributes.
func TestAttributesAndFiles(t *testing.T) {
	src := strings.Replace(simple("type: object"), "[request_headers]", "[request_headers, response_headers]", 1) +
		"attributes: {request: [source.address], response: [upstream.address]}\nexamples:\n- {name: x, files: {/run/a: testdata/a}}\n"
	parsed, err := definition.Parse("p.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	d, err := definition.Load(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Examples[0].Files["/run/a"]; got != "testdata/a" {
		t.Errorf("the file is %q", got)
	}
	want := definition.Attributes{Request: []string{"a", "source.address"}, Response: []string{"upstream.address"}}
	if diff := cmp.Diff(want, d.Reads(reader{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if again, err := json.Marshal(d); err != nil || string(again) != string(data) {
		t.Errorf("%s, %v; before %s", again, err, data)
	}
}

type reader struct{}

func (reader) ReadsAttributes() (request, response []string) {
	return []string{"source.address", "a"}, nil
}
