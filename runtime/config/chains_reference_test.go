package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/expr"
)

var renew = flag.Bool("update", false, "write the tables in docs/reference/chains.md")

// chainsReference is the page of all fields of a file of chains.
const chainsReference = "../../docs/reference/chains.md"

// chainsFields documents the fields in the order in which they are declared.
var chainsFields = []struct{ field, standard, text string }{
	{"chains[]", "none", "the chains"},
	{"chains[].name", "required", "the name by which routes refer to it; no two chains have the same"},
	{"chains[].policies[]", "required", "the policies, in the order in which they see a request; responses go through them in reverse. `[]` is a chain that lets everything pass"},
	{"chains[].policies[].id", "the policy's `name`", "tells two uses of one policy in a chain apart; it is in metrics, logs and decision records, and an instance keeps its state over a reload while chain and id stay"},
	{"chains[].policies[].name", "required", "the policy's name"},
	{"chains[].policies[].version", "required", "`v1.2.3` is that version, `v1.2` or `v1` the highest such version that is compiled in (`policy-engine -policies` lists them)"},
	{"chains[].policies[].params", "none", "the policy's parameters, checked against its schema; the policy's README describes them"},
	{"chains[].policies[].when", "always", "a condition in [CEL](expressions.md), evaluated once for each request, before the policy's first phase. An error in it is the policy's error"},
	{"chains[].policies[].mode", "`enforce`", "`shadow` runs the policy and counts what it would have done, and changes nothing"},
	{"chains[].policies[].onError", "`deny`", "what an error, a panic or a timeout of the policy means: `deny` the request, or `continue` with the next policy. It does not touch what the policy itself decides"},
	{"chains[].policies[].timeout", "what is left of the chain's time, at most 500ms", "the longest that one call of the policy may take"},
	{"chains[].policies[].required", "`false`", "refuses the configuration where the policy cannot start, such as one that has keys to fetch. Otherwise that is a warning, and the policy errs until it has started"},
	{"chains[].policies[].enabled", "`true`", "`false` leaves the policy out, and still checks it. Headers that the policy owns are removed from requests all the same"},
	{"chains[].onReject[]", "none", "policies whose response phases shape the engine's own answers, such as to add CORS headers to a refusal; in list order, with the fields of `policies[]`"},
	{"chains[].bodyLimit", "`limits.body` of engine.yaml", "how large a whole body may be that a policy of the chain asks for, such as `256KiB`; larger ones are answered `BODY_TOO_LARGE`"},
	{"chains[].requestBody", "`auto`", "`never` refuses policies that need the request's body, so that no route makes Envoy send bodies by accident"},
	{"chains[].responseBody", "`auto`", "the same for the response's body"},
	{"chains[].reroute", "`false`", "has Envoy choose the route anew after a policy has changed method, path, authority or one of `rerouteHeaders`. The request keeps the chain that it began with"},
	{"chains[].rerouteHeaders[]", "none", "headers that Envoy's routes match on, for `reroute`"},
	{"routes[]", "none", "which chain runs on which of Envoy's routes"},
	{"routes[].name", "required", "the route's name in Envoy's configuration, or a pattern over its segments between slashes: `*` is one segment, `**` at the end any rest. An exact name goes before a pattern, and the more specific pattern before the less. No two entries have the same name, and two patterns that cannot be ordered are an error"},
	{"routes[].chain", "required", "the name of a chain"},
	{"onUnknownRoute", "`deny`", "what becomes of a request on a route that is not listed: `deny` it with `ROUTE_UNKNOWN`, or `continue` without any policy"},
}

// TestChainsReference proves that the page has every field that is read, and no other,
// and the limits that hold.
func TestChainsReference(t *testing.T) {
	var documented []string
	fields := "| field | default | what it is |\n|---|---|---|\n"
	for _, f := range chainsFields {
		documented = append(documented, f.field)
		fields += fmt.Sprintf("| `%s` | %s | %s |\n", f.field, f.standard, f.text)
	}
	read := chainsFieldsOf("", reflect.TypeFor[chainsFile]())
	if diff := cmp.Diff(read, documented); diff != "" {
		t.Fatalf("chainsFields (-read +documented):\n%s", diff)
	}
	limits := "| limit | value |\n|---|---|\n"
	for _, l := range []struct {
		what  string
		value any
	}{
		{"one file", mib(maxFile)}, {"files of a directory", maxFiles}, {"all files together", mib(maxTotal)},
		{"chains", worker.MaxChains}, {"policies of a chain", worker.MaxPolicies}, {"routes", worker.MaxRoutes},
		{"routes that are patterns", worker.MaxPatterns}, {"segments of a pattern", worker.MaxSegments},
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
	for name, table := range map[string]string{"fields": fields, "limits": limits} {
		place := regexp.MustCompile(`(?s)(<!-- ` + name + `:[^\n]*-->\n).*(<!-- end of ` + name + ` -->)`)
		if !place.MatchString(want) {
			t.Fatalf("%s has no place for the %s", chainsReference, name)
		}
		want = place.ReplaceAllString(want, "${1}\n"+strings.ReplaceAll(table, "$", "$$")+"\n${2}")
	}
	if *renew {
		if err := os.WriteFile(chainsReference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(page) {
		t.Errorf("%s is out of date: run go test ./runtime/config -run TestChainsReference -update", chainsReference)
	}
}

func mib(n int) string { return fmt.Sprintf("%d MiB", n>>20) }

// chainsFieldsOf is fieldsOf, with the fields of a policy told once, and the lists
// marked.
func chainsFieldsOf(path string, t reflect.Type) (all []string) {
	seen := false
	for _, f := range fieldsOf(path, t) {
		switch {
		case strings.HasPrefix(f, "chains[].onReject[]."):
			continue
		case f == "chains[].rerouteHeaders":
			f += "[]"
		}
		seen = seen || f == "chains[].policies[].name"
		all = append(all, f)
	}
	if !seen {
		return nil
	}
	return all
}

// TestChainsReferenceHasTheDefaults proves that writing what the page says is the
// default changes nothing.
func TestChainsReferenceHasTheDefaults(t *testing.T) {
	parse := func(policy, top string) worker.Spec {
		t.Helper()
		spec, _, err := ParseChains([]File{{Name: "chains.yaml", Src: []byte("chains:\n- name: c\n  policies: [{name: p, version: v1" + policy + "}]\nroutes: []\n" + top)}})
		if err != nil {
			t.Fatalf("%s %s: %v", policy, top, err)
		}
		spec.Version, spec.Positions = "", nil
		return spec
	}
	want, tried := parse("", ""), 0
	for _, f := range chainsFields {
		value, is := strings.CutPrefix(f.standard, "`")
		value, closed := strings.CutSuffix(value, "`")
		name, ofPolicy := strings.CutPrefix(f.field, "chains[].policies[].")
		var got worker.Spec
		switch {
		case !is || !closed || strings.Contains(value, "`"):
			continue
		case ofPolicy:
			got = parse(", "+name+": "+value, "")
		case f.field == "onUnknownRoute":
			got = parse("", f.field+": "+value+"\n")
		default:
			continue // that of reroute is the zero value
		}
		tried++
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is not %s by default: %+v", f.field, value, got)
		}
	}
	if tried != 5 {
		t.Errorf("%d defaults were tried", tried)
	}
}
