package definition_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"policyengine.dev/sdk/definition"
)

// A value that fits no alternative is told about the one that was meant.
func TestAlternatives(t *testing.T) {
	const sources = `{oneOf: [
		{type: object, required: [url], additionalProperties: false, properties: {url: {type: string, format: uri}, refresh: {type: string, format: duration}}},
		{type: object, required: [file], additionalProperties: false, properties: {file: {type: string, minLength: 1}, watch: {type: boolean}}}]}`
	for _, tt := range []struct{ name, schema, value, want string }{
		{"fields of which one has to be there", `{type: object, oneOf: [{required: [inline]}, {required: [file]}, {required: [url]}]}`, `{}`,
			`v: one of these fields is required: inline, file, url`},
		{"by the fields that are given", sources, `{"file": "", "watch": true}`,
			`v.file: too short; at least 1 characters; this is about the alternative that has file, watch`},
		{"by the one field that is right", sources, `{"refresh": "1h", "uri": "a:b"}`,
			`v.uri: unknown field; did you mean "url"?` + "\n" + `v.url: missing; this field is required; this is about the alternative that has refresh, url`},
		{"by the type", `{oneOf: [{type: string, minLength: 3}, {type: array}]}`, `"a"`, `v: too short; at least 3 characters`},
		{"by the type, among listed values", `{anyOf: [{enum: [none, all]}, {type: array}]}`, `"some"`, `v: not one of the values that are possible; write one of none, all`},
		{"by a field that says what it is", `{oneOf: [{properties: {type: {const: a}}, required: [x]}, {properties: {type: {const: b}}, required: [y]}]}`, `{"type": "b"}`, `v.y: missing; this field is required`},
		{"types, none of which it is", `{oneOf: [{type: string}, {type: object}, {type: [array, object]}]}`, `1`, `v: expected a string or a mapping or a list, found a number`},
		{"by the fewest problems", `{oneOf: [{required: [a, b]}, {required: [c]}]}`, `{}`, `v.c: missing; this field is required`},
		{"none nearer than another", `{oneOf: [{minLength: 3}, {pattern: "^b"}]}`, `"a"`, `v: matches none of the alternatives; too short; at least 3 characters, or not of the right form; it must match ^b`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := definition.Parse("p.yaml", []byte(simple("type: object\nproperties:\n  v: "+tt.schema)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Validate(json.RawMessage(`{"v":` + tt.value + `}`)); fmt.Sprint(err) != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}
