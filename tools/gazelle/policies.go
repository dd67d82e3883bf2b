// Package gazelle teaches Gazelle how policies are named.
//
// A version of a policy is a Go package in a directory called after the version,
// v1.0.0, with its policy.yaml. Gazelle would name its library v1_0_0; here the
// library has the directory's name, so that //policies/set-header/v1.0.0 is its
// label, and policy.yaml among its data, where policy_engine_bundle looks for it.
package gazelle

import (
	"path"
	"slices"

	"github.com/bazelbuild/bazel-gazelle/language"
	"github.com/bazelbuild/bazel-gazelle/rule"
)

// definition is the file that makes a Go package a policy.
const definition = "policy.yaml"

type policies struct{ language.BaseLang }

// NewLanguage returns the extension, for gazelle_binary. It goes after the Go
// language, and changes what that generated.
func NewLanguage() language.Language { return &policies{} }

func (*policies) Name() string { return "policies" }

// GenerateRules names the rules that the Go language generated for a policy. A list of
// data that is in the BUILD file already stays as it is.
func (*policies) GenerateRules(args language.GenerateArgs) (result language.GenerateResult) {
	if slices.Contains(args.RegularFiles, definition) {
		name(args.OtherGen, path.Base(args.Rel))
	}
	return result
}

// name gives the rules of a policy the names that its version asks for.
func name(rules []*rule.Rule, version string) {
	var library *rule.Rule
	for _, r := range rules {
		if r.Kind() == "go_library" && !slices.Contains(r.AttrStrings("embedsrcs"), definition) {
			r.SetAttr("data", []string{definition})
		}
		if r.Kind() == "go_library" {
			library = r
		}
	}
	if library == nil {
		return
	}
	generated := ":" + library.Name()
	library.SetName(version)
	for _, r := range rules {
		if r.Kind() != "go_test" {
			continue
		}
		r.SetName(version + "_test")
		embed := r.AttrStrings("embed")
		for i, label := range embed {
			if label == generated {
				embed[i] = ":" + version
			}
		}
		if len(embed) > 0 {
			r.SetAttr("embed", embed)
		}
	}
}
