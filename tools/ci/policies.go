package ci

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

const fixtures = "tools/bundle/tests/fixture"

// badPolicies are bundles that must not build, and what the build says of each:
// for a definition, the file, line and column of what is wrong.
var badPolicies = map[string]string{
	"unknown_field_bundle":    fixtures + `/unknown-field/v1.0.0/policy.yaml:6:1: parameter: unknown field; did you mean "parameters"?`,
	"wrong_version_bundle":    fixtures + `/wrong-version/v1.1.0/policy.yaml:3:10: version: the directory is named v1.1.0`,
	"invalid_schema_bundle":   fixtures + `/invalid-schema/v1.0.0/policy.yaml:11:16: parameters.properties.size.minimum: expected a number, found a string`,
	"duplicate_bundle":        fixtures + `/twin/v1.0.0/policy.yaml:2:7: name: fixture v1.0.0 is in this bundle already: ` + fixtures + `/good/v1.0.0/policy.yaml:2:7`,
	"undeclared_phase_bundle": fixtures + `/undeclared-phase/v1.0.0/policy.yaml:5:27: `,
	"refused_example_bundle":  `fixture v1.0.0: example "what Go does not know": making an instance: decoding parameters into fixture.params: json: unknown field "length"`,
	"no_definition_bundle":    "//" + fixtures + ":no-definition: this go_library has no policy.yaml",
	"two_definitions_bundle":  "//" + fixtures + ":two-definitions: several policy.yaml",
}

// refusedPolicies has Bazel build the image of each bad bundle, all at once.
func (r Repository) refusedPolicies(ctx context.Context) Outcome {
	args := []string{"build", "--keep_going", "--color=no"}
	for bundle := range badPolicies {
		args = append(args, "//"+fixtures+":"+bundle+"_image")
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "./bazelw", args...)
	cmd.Dir = r.Root
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err == nil {
		return failed("invalid policies build")
	}
	var o Outcome
	for bundle, want := range badPolicies {
		image := "//" + fixtures + ":" + bundle + "_image"
		switch {
		case !strings.Contains(said.String(), want):
			o = o.Plus(failed("%s: the build does not say: %s", bundle, want))
		case strings.Contains(said.String(), "Target "+image+" up-to-date"):
			o = o.Plus(failed("%s: its image was built", bundle))
		default:
			o = o.Plus(passed)
		}
	}
	if o.Failed > 0 {
		fmt.Fprintln(r.Out, said.String())
	}
	return o
}
