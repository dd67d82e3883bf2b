package check_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/pectl/envoyconfig/check"
	"policyengine.dev/tools/pectl/envoyconfig/generate"
	"policyengine.dev/tools/pectl/envoyconfig/internal/sample"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// places are short names for where edits go.
var places = map[string]string{
	"listener": "static_resources.listeners.0",
	"hcm":      "static_resources.listeners.0.filter_chains.0.filters.0.typed_config",
	"filter":   "static_resources.listeners.0.filter_chains.0.filters.0.typed_config.http_filters.0",
	"ext_proc": "static_resources.listeners.0.filter_chains.0.filters.0.typed_config.http_filters.0.typed_config",
	"routes":   "static_resources.listeners.0.filter_chains.0.filters.0.typed_config.route_config",
	"host":     "static_resources.listeners.0.filter_chains.0.filters.0.typed_config.route_config.virtual_hosts.0",
	"route":    "static_resources.listeners.0.filter_chains.0.filters.0.typed_config.route_config.virtual_hosts.0.routes.0",
	"cluster":  "static_resources.clusters.0",
}

// set puts a value, in YAML, at a path that begins with one of places; & and a path
// is a copy of what is there. Without a value, what is there is taken out. A last step
// +1 puts it into a list, in front of item 1 or at the end.
func set(t *testing.T, tree sample.Tree, path, value string) {
	t.Helper()
	var v any
	if from, ok := strings.CutPrefix(value, "&"); ok {
		// A copy, so that a later edit changes one of the two.
		v = sample.Parse(t, encode(t, sample.Tree{"v": get(t, tree, stepsOf(from))}))["v"]
	} else if value != "" {
		v = sample.Parse(t, []byte("v: "+value))["v"]
	}
	put(t, tree, stepsOf(path), v, value == "")
}

func stepsOf(path string) []string {
	first, rest, more := strings.Cut(path, ".")
	if place, ok := places[first]; ok {
		if path = place; more {
			path += "." + rest
		}
	}
	steps := strings.Split(path, ".")
	for i := range steps {
		steps[i] = strings.ReplaceAll(steps[i], "/", ".")
	}
	return steps
}

func get(t *testing.T, in any, steps []string) any {
	t.Helper()
	for _, step := range steps {
		switch v := in.(type) {
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(v) {
				t.Fatalf("no item %s", step)
			}
			in = v[i]
		case map[string]any:
			in = v[step]
		}
	}
	return in
}

func put(t *testing.T, in any, steps []string, v any, remove bool) any {
	t.Helper()
	if len(steps) == 0 {
		return v
	}
	switch in := in.(type) {
	case []any:
		i, err := strconv.Atoi(steps[0])
		if err != nil || i > len(in) || i == len(in) && steps[0][0] != '+' {
			t.Fatalf("no item %s", steps[0])
		}
		if steps[0][0] == '+' {
			return slices.Insert(slices.Clone(in), i, v)
		}
		if remove && len(steps) == 1 {
			return slices.Delete(in, i, i+1)
		}
		in[i] = put(t, in[i], steps[1:], v, remove)
		return in
	case map[string]any:
		if remove && len(steps) == 1 {
			if _, ok := in[steps[0]]; !ok {
				t.Fatalf("nothing to take out at %s", steps[0])
			}
			delete(in, steps[0])
			return in
		}
		in[steps[0]] = put(t, in[steps[0]], steps[1:], v, remove)
		return in
	case nil:
		return put(t, map[string]any{}, steps, v, remove)
	}
	t.Fatalf("%v cannot have %s", in, steps[0])
	return nil
}

// example is a configuration with something wrong, and what is to be found. Without
// the edits that make it wrong nothing is found: that is the way to mend it.
type example struct {
	name string
	// chains are those of the engine; headers alone where there is none.
	chains []string
	engine func(*config.Engine)
	needs  func(*needs.Needs)
	o      check.Options
	// base are edits to the configuration that is right, wrong those that make
	// it wrong: path, value.
	base, wrong [][2]string
	// found are all findings, as severity and rule; texts have to be in them.
	found []string
	texts []string
	// bypass says that a request passes although no engine is there, crash that
	// Envoy does not survive it.
	bypass, crash bool
	// status is that of a request that passes, 200 where it is 0; upgrade asks
	// for a WebSocket.
	status  int
	upgrade bool
}

func (e *example) tree(t *testing.T, wrong bool) (sample.Tree, *needs.Needs) {
	t.Helper()
	engine := config.DefaultEngine()
	if e.engine != nil {
		e.engine(&engine)
	}
	chains := e.chains
	if chains == nil {
		chains = []string{"headers"}
	}
	n := sample.Needs(t, engine, chains...)
	if e.needs != nil {
		e.needs(n)
	}
	o := generate.Options{PreferModeOverride: engine.Filter.PreferModeOverride}
	if engine.Listeners[0].TLS != nil {
		o.TLS = generate.TLS{CA: "ca.pem", SAN: "engine"}
	}
	tree := sample.Generated(t, n, o)
	edits := e.base
	if wrong {
		edits = append(slices.Clone(edits), e.wrong...)
	}
	for _, edit := range edits {
		set(t, tree, edit[0], edit[1])
	}
	return tree, n
}

func encode(t *testing.T, tree any) []byte {
	t.Helper()
	b, err := json.MarshalIndent(tree, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func run(t *testing.T, tree sample.Tree, n *needs.Needs, o check.Options) *check.Report {
	t.Helper()
	r, err := check.Check([]check.File{{Name: "envoy.json", Src: encode(t, tree)}}, n, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func summary(r *check.Report) []string {
	all := []string{}
	for _, f := range r.Findings {
		all = append(all, string(f.Severity)+" "+f.Rule)
	}
	slices.Sort(all)
	return all
}

// TestExamples proves that each mistake is found, with nothing beside it, and that
// the configuration without it has nothing to find.
func TestExamples(t *testing.T) {
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			tree, n := e.tree(t, false)
			if r := run(t, tree, n, e.o); len(r.Findings) > 0 {
				t.Errorf("before anything is wrong, there is %+v", r.Findings)
			}
			tree, n = e.tree(t, true)
			r := run(t, tree, n, e.o)
			want := slices.Sorted(slices.Values(e.found))
			if got := summary(r); !slices.Equal(got, want) {
				t.Errorf("found %v, want %v\n%s", got, want, encode(t, r.Findings))
			}
			all := string(encode(t, r.Findings))
			for _, text := range e.texts {
				if !strings.Contains(all, strings.Trim(string(encode(t, text)), `"`)) {
					t.Errorf("nothing says %q: %s", text, all)
				}
			}
			for _, f := range r.Findings {
				if f.Line == 0 || f.Column == 0 || f.Problem == "" || f.Remedy == "" || strings.Contains(f.Problem+f.Remedy, "%!") {
					t.Errorf("incomplete: %+v", f)
				}
			}
		})
	}
}

// TestEveryRuleHasAnExample holds that no rule goes untested, and that none is
// undocumented.
func TestEveryRuleHasAnExample(t *testing.T) {
	shown := map[string]bool{}
	for _, e := range examples {
		for _, f := range e.found {
			_, rule, _ := strings.Cut(f, " ")
			shown[rule] = true
		}
	}
	documented := map[string]bool{}
	for _, rule := range check.Rules {
		documented[rule.ID] = true
		if !shown[rule.ID] {
			t.Errorf("no example shows %s", rule.ID)
		}
	}
	for rule := range shown {
		if !documented[rule] {
			t.Errorf("%s is not among the rules", rule)
		}
	}
}

// TestPlaces proves that findings lead to the line, in either way to write fields.
func TestPlaces(t *testing.T) {
	const src = `staticResources:
  listeners:
  - name: main
    address: {socketAddress: {address: 127.0.0.1, portValue: 0}}
    filterChains:
    - filters:
      - name: http
        typedConfig:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          statPrefix: x
          rds: {routeConfigName: routes, configSource: {ads: {}}}
          httpFilters:
          - name: ext_proc
            typedConfig:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpcService: {envoyGrpc: {clusterName: policy-engine}}
              failureModeAllow: true
`
	r, err := check.Check([]check.File{{Name: "a.yaml", Src: []byte(src)}}, sample.Needs(t, config.DefaultEngine(), "headers"), check.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Rule == check.FailureModeAllow {
			if f.Line != 17 || f.Column != 33 || f.File != "a.yaml" || strings.Join(f.In, ", ") != "listener main, filter ext_proc" {
				t.Errorf("%+v", f)
			}
			return
		}
	}
	t.Errorf("not found: %+v", r.Findings)
}

// TestParts proves that the same is found however the configuration is spread.
func TestParts(t *testing.T) {
	tree, n := (&example{}).tree(t, false)
	set(t, tree, "ext_proc.failure_mode_allow", "true")
	static := tree["static_resources"].(sample.Tree)
	listener, cluster := static["listeners"].([]any)[0].(sample.Tree), static["clusters"].([]any)[0].(sample.Tree)
	typed := func(message string, fields sample.Tree) sample.Tree { return sample.Any(message, fields) }
	whole := encode(t, tree)
	set(t, tree, "routes.name", "all")
	manager := listener["filter_chains"].([]any)[0].(sample.Tree)["filters"].([]any)[0].(sample.Tree)["typed_config"].(sample.Tree)
	routes := manager["route_config"].(sample.Tree)
	delete(manager, "route_config")
	manager["rds"] = sample.Tree{"route_config_name": "all", "config_source": sample.Tree{"ads": sample.Tree{}}}
	lds := sample.Tree{"version_info": "1", "resources": []any{typed("envoy.config.listener.v3.Listener", listener)}}
	rds := sample.Tree{"resources": []any{sample.Tree{"name": "all", "resource": typed("envoy.config.route.v3.RouteConfiguration", routes)}}}
	dump := sample.Tree{"configs": []any{
		typed("envoy.admin.v3.BootstrapConfigDump", sample.Tree{"bootstrap": sample.Tree{
			"static_resources":  sample.Tree{"clusters": []any{cluster}, "listeners": []any{listener}},
			"dynamic_resources": sample.Tree{"lds_config": sample.Tree{"ads": sample.Tree{}}},
		}}),
		typed("envoy.admin.v3.ClustersConfigDump", sample.Tree{"static_clusters": []any{sample.Tree{"cluster": typed("envoy.config.cluster.v3.Cluster", cluster)}}}),
		typed("envoy.admin.v3.ListenersConfigDump", sample.Tree{"dynamic_listeners": []any{sample.Tree{
			"name": "main", "active_state": sample.Tree{"listener": typed("envoy.config.listener.v3.Listener", listener)},
		}}}),
		typed("envoy.admin.v3.RoutesConfigDump", sample.Tree{"dynamic_route_configs": []any{sample.Tree{"route_config": typed("envoy.config.route.v3.RouteConfiguration", routes)}}}),
	}}
	wrapped := sample.Tree{"listeners": []any{listener}, "clusters": []any{cluster}}
	for _, tt := range []struct {
		name  string
		parts [][]byte
	}{
		{"a bootstrap configuration", [][]byte{whole}},
		{"resources of each discovery service", [][]byte{encode(t, lds), encode(t, rds), encode(t, []any{typed("envoy.config.cluster.v3.Cluster", cluster)})}},
		{"resources by themselves", [][]byte{encode(t, listener), encode(t, routes), encode(t, cluster)}},
		{"what is below static_resources", [][]byte{encode(t, wrapped), encode(t, routes)}},
		{"Envoy's own dump", [][]byte{encode(t, dump)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var files []check.File
			for i, src := range tt.parts {
				files = append(files, check.File{Name: fmt.Sprintf("%d.json", i), Src: src})
			}
			r, err := check.Check(files, n, check.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(r); !slices.Equal(got, []string{"error failure-mode-allow"}) {
				t.Errorf("found %s", encode(t, r.Findings))
			}
			if want := (check.Looked{Listeners: 1, ConnectionManagers: 1, Routes: 1, Clusters: 1, EngineClusters: 1}); r.Looked != want {
				t.Errorf("looked at %+v, want %+v", r.Looked, want)
			}
		})
	}
}

// TestVirtualHostsFromElsewhere proves that virtual hosts that VHDS brings are checked
// where their file is there, each with the route configuration that it belongs to.
func TestVirtualHostsFromElsewhere(t *testing.T) {
	tree, n := (&example{}).tree(t, false)
	set(t, tree, "routes.vhds", "{config_source: {ads: {}}}")
	host := get(t, tree, stepsOf("host")).(sample.Tree)
	set(t, tree, "routes.virtual_hosts", "[]")
	for _, tt := range []struct {
		name, key string
		found     []string
	}{
		{"its own", "routes/example.org", []string{}},
		{"another's", "others/example.org", []string{"warning routes-unseen"}},
	} {
		for _, disabled := range []bool{false, true} {
			delete(host, "typed_per_filter_config")
			want := tt.found
			if disabled {
				host["typed_per_filter_config"] = sample.Tree{generate.DefaultFilterName: sample.Parse(t, []byte(turnedOff))}
				if tt.name == "its own" {
					want = []string{"error route-disabled"}
				}
			}
			resource := sample.Tree{"resources": []any{sample.Tree{"name": tt.key, "resource": sample.Any("envoy.config.route.v3.VirtualHost", host)}}}
			r, err := check.Check([]check.File{{Name: "a.json", Src: encode(t, tree)}, {Name: "b.json", Src: encode(t, resource)}}, n, check.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(r); !slices.Equal(got, want) {
				t.Errorf("%s, disabled %v: found %s", tt.name, disabled, encode(t, r.Findings))
			}
		}
	}
}

// TestRoutesAlone proves that routes and clusters are checked where no listener is
// there.
func TestRoutesAlone(t *testing.T) {
	tree, n := (&example{}).tree(t, false)
	set(t, tree, "route.typed_per_filter_config.any", `{"@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute, disabled: true}`)
	set(t, tree, "host.routes.+0", `{name: stranger, match: {prefix: /}, direct_response: {status: 200}}`)
	set(t, tree, "cluster.circuit_breakers", "")
	static := tree["static_resources"].(sample.Tree)
	manager := static["listeners"].([]any)[0].(sample.Tree)["filter_chains"].([]any)[0].(sample.Tree)["filters"].([]any)[0].(sample.Tree)["typed_config"].(sample.Tree)
	parts := []any{
		sample.Any("envoy.config.route.v3.RouteConfiguration", manager["route_config"].(sample.Tree)),
		sample.Any("envoy.config.cluster.v3.Cluster", static["clusters"].([]any)[0].(sample.Tree)),
	}
	r, err := check.Check([]check.File{{Name: "a.json", Src: encode(t, parts)}}, n, check.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"error cluster-limits", "error cluster-limits", "error route-disabled", "error route-unknown"}
	if got := summary(r); !slices.Equal(got, want) {
		t.Errorf("found %s", encode(t, r.Findings))
	}
}

// TestManyFindings proves that a configuration that is wrong in one way everywhere
// gives a report that can be read.
func TestManyFindings(t *testing.T) {
	tree, n := (&example{}).tree(t, false)
	for i := range 120 {
		set(t, tree, "host.routes.+0", fmt.Sprintf(`{name: "r%d", match: {prefix: /}, direct_response: {status: 200}}`, i))
	}
	r := run(t, tree, n, check.Options{})
	if len(r.Findings) != check.MaxPerRule || r.Errors != 120 || r.Omitted[check.RouteUnknown] != 120-check.MaxPerRule {
		t.Errorf("%d findings, %d errors, omitted %v", len(r.Findings), r.Errors, r.Omitted)
	}
}

// TestDeterministic proves that the same files give the same report.
func TestDeterministic(t *testing.T) {
	for _, e := range examples {
		tree, n := e.tree(t, true)
		first := string(encode(t, run(t, tree, n, e.o)))
		for range 3 {
			if again := string(encode(t, run(t, tree, n, e.o))); again != first {
				t.Errorf("%s: %s\nand then %s", e.name, first, again)
			}
		}
	}
}

// TestNothingToCheck proves that a file that nothing is found in is no success.
func TestNothingToCheck(t *testing.T) {
	n := sample.Needs(t, config.DefaultEngine(), "headers")
	for name, src := range map[string]string{
		"no YAML":        "a: [",
		"empty":          "",
		"something else": "apiVersion: v1\nkind: Pod\n",
		"a scalar":       "envoy",
	} {
		if r, err := check.Check([]check.File{{Name: "a.yaml", Src: []byte(src)}}, n, check.Options{}); err == nil {
			t.Errorf("%s: %+v", name, r)
		} else if !strings.Contains(err.Error(), "a.yaml:1:") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// FuzzCheck proves that no file makes a check fail in any way but an error.
func FuzzCheck(f *testing.F) {
	n := sample.Needs(f, config.DefaultEngine())
	d, err := json.Marshal(sample.Generated(f, n, generate.Options{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(d)
	f.Add([]byte(`{"static_resources":{"listeners":[{"filter_chains":[{"filters":[{"typed_config":{"@type":"x/xds.type.v3.TypedStruct","type_url":"y/z","value":null}}]}]}]}}`))
	f.Add([]byte("configs:\n- &a {'@type': envoy.admin.v3.BootstrapConfigDump, bootstrap: {static_resources: {listeners: [{filter_chains: 1}], clusters: [1]}}}\n"))
	f.Add([]byte("virtual_hosts: [{routes: [{name: 1}], typed_per_filter_config: {a: {'@type': b, disabled: true}}}]"))
	f.Add([]byte("virtual_hosts: [{matcher: {on_no_match: {action: {typed_config: {'@type': a/envoy.config.route.v3.RouteList, routes: [{}, 1]}}}, matcher_tree: {custom_match: [{on_match: {matcher: 1}}]}}}]"))
	f.Add([]byte("- {'@type': envoy.config.core.v3.TypedExtensionConfig, name: a, typed_config: 1}\n- {filter_chains: [{filters: [{typed_config: {'@type': " +
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, http_filters: [{name: a, disabled: 1, config_discovery: {}}, {typed_config: {'@type': " +
		"envoy.extensions.common.matching.v3.ExtensionWithMatcher, extension_config: {typed_config: {'@type': envoy.extensions.filters.http.composite.v3.Composite}}, xds_matcher: {}}}], scoped_routes: {}, upgrade_configs: [{filters: [1]}]}}]}]}\n"))
	files, err := filepath.Glob("testdata/kubernetes/*.yaml")
	if err != nil || files == nil {
		f.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		r, err := check.Check([]check.File{{Name: "a", Src: src}}, n, check.Options{})
		if (r == nil) == (err == nil) {
			t.Errorf("report %v, error %v", r, err)
		}
	})
}

// BenchmarkCheck looks at a configuration with 10,000 routes.
func BenchmarkCheck(b *testing.B) {
	n := sample.Needs(b, config.DefaultEngine(), "headers")
	tree := sample.Generated(b, n, generate.Options{})
	routes := make([]any, 10_000)
	for i := range routes {
		routes[i] = sample.Tree{"name": "to-headers", "match": sample.Tree{"path": fmt.Sprint("/", i)}, "direct_response": sample.Tree{"status": 200}}
	}
	steps := stepsOf("host.routes")
	var in any = tree
	for _, step := range steps[:len(steps)-1] {
		if i, err := strconv.Atoi(step); err == nil {
			in = in.([]any)[i]
		} else {
			in = in.(sample.Tree)[step]
		}
	}
	in.(sample.Tree)["routes"] = routes
	src, err := json.Marshal(tree)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		r, err := check.Check([]check.File{{Name: "a", Src: src}}, n, check.Options{})
		if err != nil || len(r.Findings) > 0 || r.Looked.Routes != len(routes) {
			b.Fatalf("%v, %+v", err, r)
		}
	}
}
