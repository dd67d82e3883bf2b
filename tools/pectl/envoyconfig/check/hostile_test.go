package check_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/pectl/envoyconfig/check"
	"policyengine.dev/tools/pectl/envoyconfig/internal/sample"
)

// TestHostile proves that files that are made to be costly are either looked at or
// refused with the place, and neither fills the memory nor takes forever. (Run with a
// deadline of its own: go test's.)
func TestHostile(t *testing.T) {
	const manager = `{filters: [{typed_config: {"@type": a/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, rds: {route_config_name: r}}}]}`
	nested := func(open, shut string, n int) string { return strings.Repeat(open, n) + strings.Repeat(shut, n) }
	shared := "- {'@type': a/envoy.config.route.v3.RouteConfiguration, name: r, virtual_hosts: [{name: v, routes: [" + strings.Repeat("{name: to-none},", 2000) + "]}]}\n" +
		strings.Repeat("- {name: l, filter_chains: ["+manager+"]}\n", 3000)
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	for _, tt := range []struct{ name, src, want string }{
		{"nested brackets", "listeners: " + nested("[", "]", 500_000), "a.yaml:1:"},
		{"nested mappings", "listeners: " + nested("{a: ", "}", 5_000), "a.yaml:1:"},
		{"nested lists, one item a line", strings.Repeat("- ", 20_000) + "x", "a.yaml:1:"},
		{"nested matchers", "virtual_hosts: [{name: v, matcher: " + strings.Repeat("{on_no_match: {matcher: ", 95) + "{}" + strings.Repeat("}}", 95) + "}]", ""},
		{"aliases of aliases", bomb.String() + "listeners: []\n", "a.yaml:"},
		{"aliases of aliases in files of a ConfigMap", "apiVersion: v1\nkind: ConfigMap\ndata:\n" + inConfigMap(bomb.String()+"listeners: []\n", 3), "a.yaml:"},
		{"a patch with a very long path", "{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: EnvoyPatchPolicy, spec: {jsonPatches: [{type: a/envoy.config.listener.v3.Listener, operation: {op: add, path: " + strings.Repeat("/filter_chains/0", 50_000) + ", value: 1}}]}}", ""},
		{"a patch that goes round in circles", "{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: EnvoyPatchPolicy, spec: {jsonPatches: [{type: a/google.protobuf.Struct, operation: {op: add, path: " + strings.Repeat("/fields/a/struct_value", 15) + ", value: {}}}]}}", ""},
		{"lists in lists of Kubernetes resources", strings.Repeat("{apiVersion: v1, kind: List, items: [", 60) + strings.Repeat("]}", 60), "a.yaml:"},
		{"routes that very many listeners share", shared, "more than 2000000 routes"},
		{"no text at all", string(bytes.Repeat([]byte{0}, 1000)), "a.yaml:1:"},
		{"a file that is too large", strings.Repeat("#", check.MaxFile+1), "a.yaml:1:1"},
		{"a name that is very long", "listeners: [{name: " + strings.Repeat("x", 1<<20) + ", filter_chains: [" + manager + "]}]", ""},
		{"a line of many errors", "listeners: [" + strings.Repeat("{filter_chains: 1, name: []},", 20_000) + "]", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := check.Check([]check.File{{Name: "a.yaml", Src: []byte(tt.src)}}, sample.Needs(t, config.DefaultEngine(), "none"), check.Options{})
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("report %v, error %.300v", r, err)
			case err == nil && len(r.Findings) > len(check.Rules)*check.MaxPerRule:
				t.Errorf("%d findings", len(r.Findings))
			}
		})
	}
}

// inConfigMap has a text in n files of a ConfigMap.
func inConfigMap(text string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  f%d.yaml: |\n    %s\n", i, strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    "))
	}
	return b.String()
}
