package gazelle_test

import (
	"slices"
	"testing"

	"github.com/bazelbuild/bazel-gazelle/language"
	"github.com/bazelbuild/bazel-gazelle/rule"

	"policyengine.dev/tools/gazelle"
)

func TestGenerateRules(t *testing.T) {
	tests := []struct {
		name             string
		rel              string
		files, embedsrcs []string
		library, test    string
		data, embedded   []string
		testEmbeds       []string
	}{
		{
			name: "a policy has the name of its version, and its definition as data",
			rel:  "policies/set-header/v1.0.0", files: []string{"setheader.go", "policy.yaml"}, testEmbeds: []string{":v1_0_0"},
			library: "v1.0.0", test: "v1.0.0_test", data: []string{"policy.yaml"}, embedded: []string{":v1.0.0"},
		},
		{
			name: "wherever it is kept",
			rel:  "acme/audit/v2.1.0", files: []string{"policy.yaml"},
			library: "v2.1.0", test: "v2.1.0_test", data: []string{"policy.yaml"},
		},
		{
			name: "a definition that is embedded is not data as well",
			rel:  "policies/set-header/v1.0.0", files: []string{"policy.yaml"}, embedsrcs: []string{"policy.yaml"},
			library: "v1.0.0", test: "v1.0.0_test",
		},
		{
			name: "a package without a definition is none of a policy's",
			rel:  "sdk/v1.0.0", files: []string{"sdk.go"}, testEmbeds: []string{":v1_0_0"},
			library: "v1_0_0", test: "v1_0_0_test", embedded: []string{":v1_0_0"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			library, test := rule.NewRule("go_library", "v1_0_0"), rule.NewRule("go_test", "v1_0_0_test")
			if tt.embedsrcs != nil {
				library.SetAttr("embedsrcs", tt.embedsrcs)
			}
			if tt.testEmbeds != nil {
				test.SetAttr("embed", tt.testEmbeds)
			}
			result := gazelle.NewLanguage().GenerateRules(language.GenerateArgs{
				Rel: tt.rel, RegularFiles: tt.files, OtherGen: []*rule.Rule{library, test},
			})
			if len(result.Gen)+len(result.Empty) > 0 {
				t.Errorf("rules of its own: %v", result)
			}
			if library.Name() != tt.library || test.Name() != tt.test {
				t.Errorf("named %s and %s, want %s and %s", library.Name(), test.Name(), tt.library, tt.test)
			}
			if got := library.AttrStrings("data"); !slices.Equal(got, tt.data) {
				t.Errorf("data = %q, want %q", got, tt.data)
			}
			if got := test.AttrStrings("embed"); !slices.Equal(got, tt.embedded) {
				t.Errorf("the test embeds %q, want %q", got, tt.embedded)
			}
		})
	}
}
