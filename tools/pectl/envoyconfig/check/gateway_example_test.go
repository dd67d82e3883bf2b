package check_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/pectl/envoyconfig/check"
	"policyengine.dev/tools/pectl/envoyconfig/internal/sample"
)

const gatewayExample = "../../../../examples/envoy-gateway/"

// TestGatewayExample proves that the filter section of the example's engine.yaml declares
// what the EnvoyExtensionPolicy beside it makes of Envoy's filter: the check, which knows
// both, finds nothing wrong for chains that the filter can serve.
func TestGatewayExample(t *testing.T) {
	const file = "extension-policy.yaml"
	src := readExample(t, file)
	engine, err := config.LoadEngine(gatewayExample + "engine.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if u := (config.FileSource{Path: gatewayExample + "chains.yaml"}).Load(); u.Err != nil || len(u.Spec.Routes) != 2 {
		t.Errorf("the example's chains: %v", u.Err)
	}
	chains := []string{"pieces", "holding"}
	found := func(engine config.Engine, src string, chains ...string) (rules []string) {
		t.Helper()
		r, err := check.Check([]check.File{{Name: file, Src: []byte(src)}}, sample.Needs(t, engine, chains...), check.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Findings {
			if f.Rule != "filter-unseen" { // only Envoy's /config_dump shows what is around it
				rules = append(rules, string(f.Severity)+" "+f.Rule+": "+f.Problem)
			}
		}
		return rules
	}
	if rules := found(engine, src, chains...); len(rules) > 0 {
		t.Errorf("found in the example:\n%s", strings.Join(rules, "\n"))
	}
	// Each setting matters: one that differs between the two is found.
	for _, change := range [][2]string{
		{"messageTimeout: 1s", "messageTimeout: 500ms"},
		{"body: FullDuplexStreamed", "body: Streamed"},
		{"attributes: [xds.route_name, source.address]", "attributes: [source.address]"},
		{"failOpen: false", "failOpen: true"},
	} {
		if changed := strings.Replace(src, change[0], change[1], 1); changed == src || len(found(engine, changed, chains...)) == 0 {
			t.Errorf("nothing is found after %s became %s", change[0], change[1])
		}
	}
	engine.Filter.ProcessingMode.RequestTrailers = config.HeaderModeSkip
	if len(found(engine, src, chains...)) == 0 {
		t.Error("nothing is found where engine.yaml says that trailers are skipped")
	}
}

// attributePattern is what Envoy Gateway's own schema (api/v1alpha1, ProcessingModeOptions)
// allows as an attribute.
var attributePattern = regexp.MustCompile(`^(connection\.|source\.|destination\.|request\.|response\.|upstream\.|xds\.route_)[a-z_1-9]*$`)

func TestGatewayExampleHasAttributesThatAreAllowed(t *testing.T) {
	n := 0
	for _, list := range regexp.MustCompile(`attributes: \[(.*)\]`).FindAllStringSubmatch(readExample(t, "extension-policy.yaml"), -1) {
		for _, attribute := range strings.Split(list[1], ", ") {
			if n++; !attributePattern.MatchString(attribute) {
				t.Errorf("Envoy Gateway refuses the attribute %s", attribute)
			}
		}
	}
	if n != 3 {
		t.Errorf("the example has %d attributes", n)
	}
}

// TestGatewayIsDocumented holds that the documentation shows the files of the example.
func TestGatewayIsDocumented(t *testing.T) {
	b, err := os.ReadFile(documentation)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), "<!-- envoy-gateway -->")
	_, after, ended := strings.Cut(rest, "<!-- end of envoy-gateway -->")
	if !ok || !ended {
		t.Fatal("the place of the example is gone")
	}
	want := before + "<!-- envoy-gateway -->\n\n"
	for _, name := range []string{"extension-policy.yaml", "engine.yaml"} {
		want += "```yaml\n# " + name + "\n" + strings.TrimSpace(readExample(t, name)) + "\n```\n\n"
	}
	want += "<!-- end of envoy-gateway -->" + after
	if *update {
		if err := os.WriteFile(documentation, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(b) != want {
		t.Error("the documentation shows other files; run this test with -update")
	}
}

func readExample(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(gatewayExample + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
