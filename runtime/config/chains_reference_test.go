package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/config/schema"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/expr"
)

var renew = flag.Bool("update", false, "write the limits in docs/reference/chains.md")

// chainsReference is the page of all fields of a file of chains.
const chainsReference = "../../docs/reference/chains.md"

// TestChainsReference proves that the page has the limits that hold. Its fields are tested in
// tools/configschema.
func TestChainsReference(t *testing.T) {
	limits := "| limit | value |\n|---|---|\n"
	for _, l := range []struct {
		what  string
		value any
	}{
		{"one file", mib(maxFile)}, {"files of a directory", maxFiles}, {"all files together", mib(maxTotal)},
		{"chains", worker.MaxChains}, {"policies of a chain", worker.MaxPolicies}, {"routes", worker.MaxRoutes},
		{"routes that are patterns", worker.MaxPatterns}, {"segments of a pattern", worker.MaxSegments},
		{"different places of `*` in the beginnings of patterns, together", worker.MaxPatternShapes},
		{"`params` of a policy, as JSON", "1 MiB, nested 64 deep"}, {"`when`", fmt.Sprintf("%d bytes; its cost is bounded too: see [expressions](expressions.md#limits)", expr.MaxSource)},
		{"`bodyLimit`", "64 MiB, or `limits.body` of engine.yaml where that is more"}, {"`timeout` where none is given", worker.MaxDefaultTimeout},
	} {
		limits += fmt.Sprintf("| %s | %v |\n", l.what, l.value)
	}
	page, err := os.ReadFile(chainsReference)
	if err != nil {
		t.Fatal(err)
	}
	want := string(page)
	place := regexp.MustCompile(`(?s)(<!-- limits:[^\n]*-->\n).*(<!-- end of limits -->)`)
	if !place.MatchString(want) {
		t.Fatalf("%s has no place for the limits", chainsReference)
	}
	want = place.ReplaceAllString(want, "${1}\n"+strings.ReplaceAll(limits, "$", "$$")+"\n${2}")
	if *renew {
		if err := os.WriteFile(chainsReference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(page) {
		t.Errorf("%s is out of date: run go test ./runtime/config -run TestChainsReference -update", chainsReference)
	}
}

func mib(n int) string { return fmt.Sprintf("%d MiB", n>>20) }

// TestChainsReferenceHasTheDefaults proves that writing what the page says is the
// default changes nothing.
func TestChainsReferenceHasTheDefaults(t *testing.T) {
	parse := func(policy, top, chain string) worker.Spec {
		t.Helper()
		spec, _, err := ParseChains([]File{{Name: "chains.yaml", Src: []byte("chains:\n- {name: c, policies: [{name: p, version: v1" + policy + "}]" + chain + "}\nroutes: []\n" + top)}})
		if err != nil {
			t.Fatalf("%s %s %s: %v", policy, top, chain, err)
		}
		spec.Version, spec.Positions = "", nil
		return spec
	}
	want, tried := parse("", "", ""), 0
	for _, message := range []proto.Message{&configv1.Configuration{}, &configv1.Chain{}, &configv1.Step{}} {
		for _, f := range schema.Of(message.ProtoReflect().Descriptor()).Fields {
			value, is := strings.CutPrefix(f.Rules.Default, "`")
			value, closed := strings.CutSuffix(value, "`")
			if !is || !closed {
				continue
			}
			tried++
			field := f.Name + ": " + value
			var got worker.Spec
			switch message.(type) {
			case *configv1.Configuration:
				got = parse("", field+"\n", "")
			case *configv1.Chain:
				got = parse("", "", ", "+field)
			case *configv1.Step:
				got = parse(", "+field, "", "")
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s is not %s by default: %+v", f.Name, value, got)
			}
		}
	}
	if tried != 9 {
		t.Errorf("%d defaults were tried", tried)
	}
}
