package definition

import (
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"policyengine.dev/sdk/definition/internal/format"
	"policyengine.dev/sdk/strictyaml"
)

// formats are the values of the keyword `format` that a schema may use, with
// what would be right where a string is not of that form.
var formats = func() map[string]string {
	remedies := map[string]string{}
	for _, f := range format.All() {
		remedies[f.Name] = f.Remedy
	}
	return remedies
}()

// formatRemedy names the format that was probably meant, and all that there are.
func formatRemedy(name string) string {
	all := "the formats are " + strings.Join(slices.Sorted(maps.Keys(formats)), ", ")
	if near := strictyaml.Nearest(name, slices.Collect(maps.Keys(formats))); strings.HasPrefix(near, "did you mean") {
		return near + " " + all
	}
	return all
}

// contents are the values that contentEncoding and contentMediaType may have.
var contents = map[string][]string{
	"contentEncoding":  {"base64"},
	"contentMediaType": {"application/json"},
}

var errForm = errors.New("not of that form")

// ownFormats replace all of the library's that a schema may use.
func ownFormats() []*jsonschema.Format {
	var own []*jsonschema.Format
	for _, f := range format.All() {
		own = append(own, &jsonschema.Format{Name: f.Name, Validate: func(v any) error {
			if s, ok := v.(string); ok && !f.Valid(s) {
				return errForm
			}
			return nil
		}})
	}
	return own
}

// strictBase64 is RFC 4648, section 4: padded, without line breaks or stray bits.
var strictBase64 = &jsonschema.Decoder{Name: "base64", Decode: func(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errForm
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}}
