package check_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/envoy"
	"policyengine.dev/tools/pectl/envoyconfig/check"
	"policyengine.dev/tools/pectl/envoyconfig/generate"
	"policyengine.dev/tools/pectl/envoyconfig/internal/sample"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// shape is a configuration as somebody has it: testdata/shapes. It says which chains
// the engine has and what is to be found. @FILTER@, @EXT_PROC@, @CLUSTER@ and @BODIES@
// stand for what pectl envoy-config writes: the filter, its configuration, the cluster,
// and the settings of a route whose chain wants whole bodies.
type shape struct {
	name   string
	src    []byte
	needs  *needs.Needs
	chains []string
	found  []string
}

var header = regexp.MustCompile(`(?m)^ *"?# (chains|found)"?: ?"?([^"\n]*)"?,?$`)

func shapes(t *testing.T) []shape {
	t.Helper()
	files, err := filepath.Glob("testdata/shapes/*")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d shapes: %v", len(files), err)
	}
	var all []shape
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := shape{name: filepath.Base(file), found: []string{}}
		said := map[string]string{}
		for _, m := range header.FindAllSubmatch(src, -1) {
			said[string(m[1])] = string(m[2])
		}
		s.chains = strings.Fields(said["chains"])
		for f := range strings.SplitSeq(said["found"], ", ") {
			if f != "" {
				s.found = append(s.found, f)
			}
		}
		slices.Sort(s.found)
		s.needs = sample.Needs(t, config.DefaultEngine(), s.chains...)
		s.src = filledIn(t, s.needs, src)
		if strings.HasSuffix(s.name, ".json") {
			s.src = withoutRemarks(t, s.src)
		}
		all = append(all, s)
	}
	return all
}

// withoutRemarks takes out what is said of a file in JSON, which has no comments.
func withoutRemarks(t *testing.T, src []byte) []byte {
	t.Helper()
	tree := sample.Parse(t, src)
	for key := range tree {
		if strings.HasPrefix(key, "#") {
			delete(tree, key)
		}
	}
	return encode(t, tree)
}

// filledIn puts what is generated instead of what stands for it.
func filledIn(t *testing.T, n *needs.Needs, src []byte) []byte {
	t.Helper()
	d, err := generate.New(n, generate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := d.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	parts := sample.Parse(t, b.Bytes())
	filter := parts["http_filter"].(sample.Tree)
	fill := map[string]any{"@FILTER@": filter, "@EXT_PROC@": filter["typed_config"], "@CLUSTER@": parts["cluster"]}
	if routes, ok := parts["routes"].(sample.Tree); ok {
		if block, ok := routes["to-bodies"].(sample.Tree); ok {
			fill["@BODIES@"] = block["typed_per_filter_config"]
		}
	}
	for name, v := range fill {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		// In a mapping, with "...": just its fields.
		src = bytes.ReplaceAll(src, []byte("..."+name), text[1:len(text)-1])
		src = bytes.ReplaceAll(src, []byte(name), text)
	}
	return src
}

// TestShapes proves that in configurations of many shapes what is wrong is found, and
// nothing else.
func TestShapes(t *testing.T) {
	for _, s := range shapes(t) {
		t.Run(s.name, func(t *testing.T) {
			r, err := check.Check([]check.File{{Name: s.name, Src: s.src}}, s.needs, check.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(r); !slices.Equal(got, s.found) {
				t.Errorf("found %v, want %v\n%s", got, s.found, encode(t, r.Findings))
			}
		})
	}
}

// TestShapesAreAccepted proves that the shapes are ones that the pinned Envoy takes.
func TestShapesAreAccepted(t *testing.T) {
	binary := envoy.Binary(t)
	dir := t.TempDir()
	sample.WriteCertificate(t, dir)
	for _, s := range shapes(t) {
		t.Run(s.name, func(t *testing.T) {
			validateAs(t, dir, binary, s.name, s.src)
		})
	}
}

// TestDump proves that what a running Envoy tells of itself is understood: a
// configuration whose listeners, routes, scopes, clusters and filters all come from
// elsewhere, here from files.
func TestDump(t *testing.T) {
	binary := envoy.Binary(t)
	n := sample.Needs(t, config.DefaultEngine(), "headers", "responses")
	for _, tt := range []struct {
		name          string
		filter, route [2]string // replaced in what is delivered
		found         []string
	}{
		{"as it should be", [2]string{}, [2]string{}, []string{}},
		{"a delivered filter that fails open", [2]string{`"failure_mode_allow":false`, `"failure_mode_allow":true`}, [2]string{}, []string{"error failure-mode-allow"}},
		{"a scoped route that switches the filter off", [2]string{}, [2]string{"direct_response", `typed_per_filter_config: {delivered: {"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}}, direct_response`},
			[]string{"error route-disabled"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, content string) {
				content = string(filledIn(t, n, []byte(content)))
				if name == "ecds.yaml" {
					content = strings.Replace(content, tt.filter[0], tt.filter[1], 1)
				}
				if name == "scope.yaml" {
					content = strings.Replace(content, tt.route[0], tt.route[1], 1)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(content, "DIR", dir)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for name, content := range delivered {
				write(name, content)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			e, err := harness.StartEnvoy(ctx, harness.EnvoyOptions{Path: binary, Config: []byte(strings.ReplaceAll(delivering, "DIR", dir)), Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Stop()
			src, err := e.Admin(ctx, "/config_dump")
			if err != nil {
				t.Fatal(err)
			}
			r, err := check.Check([]check.File{{Name: "dump.json", Src: src}}, n, check.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(r); !slices.Equal(got, tt.found) {
				t.Errorf("found %v, want %v\n%s", got, tt.found, encode(t, r.Findings))
			}
			if want := (check.Looked{Listeners: 2, ConnectionManagers: 2, Routes: 2, Clusters: 1, EngineClusters: 1}); r.Looked != want {
				t.Errorf("looked at %+v, want %+v", r.Looked, want)
			}
			// The files themselves say the same.
			var files []check.File
			for name := range delivered {
				src, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, check.File{Name: name, Src: src})
			}
			slices.SortFunc(files, func(a, b check.File) int { return strings.Compare(a.Name, b.Name) })
			r, err = check.Check(files, n, check.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(r); !slices.Equal(got, tt.found) {
				t.Errorf("in the files, found %v, want %v\n%s", got, tt.found, encode(t, r.Findings))
			}
		})
	}
}

const (
	delivering = `
node: {id: a, cluster: a}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
dynamic_resources:
  lds_config: {resource_api_version: V3, path_config_source: {path: DIR/lds.yaml}}
  cds_config: {resource_api_version: V3, path_config_source: {path: DIR/cds.yaml}}
`
	listenerOf = `
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: %s
  address: {socket_address: {address: 127.0.0.1, port_value: 0}}
  filter_chains:
  - filters:
    - name: hcm
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: x
        normalize_path: true
        merge_slashes: true
        path_with_escaped_slashes_action: REJECT_REQUEST
        http_filters:
        - name: delivered
          config_discovery:
            config_source: {resource_api_version: V3, path_config_source: {path: DIR/ecds.yaml}}
            type_urls: [type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor]
        - {name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
        %s
`
)

// delivered are the files by which a whole configuration is delivered.
var delivered = map[string]string{
	"lds.yaml": "resources:" + fmt.Sprintf(listenerOf, "plain", "rds: {route_config_name: plain, config_source: {resource_api_version: V3, path_config_source: {path: DIR/rds.yaml}}}") +
		fmt.Sprintf(listenerOf, "scoped", `scoped_routes: {name: tenants, scope_key_builder: {fragments: [{header_value_extractor: {name: x-tenant, element_separator: ",", index: 0}}]},
          scoped_rds: {scoped_rds_config_source: {resource_api_version: V3, path_config_source: {path: DIR/scope.yaml}}}}`),
	"rds.yaml": `resources: [{"@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: plain, virtual_hosts: [{name: all, domains: ["*"], routes: [{name: to-headers, match: {prefix: /}, direct_response: {status: 200}}]}]}]`,
	"scope.yaml": `resources: [{"@type": type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration, name: a, key: {fragments: [{string_key: a}]},
  route_configuration: {name: a, virtual_hosts: [{name: a, domains: ["*"], routes: [{name: to-responses, match: {prefix: /}, direct_response: {status: 200}}]}]}}]`,
	"ecds.yaml": `resources: [{"@type": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig, name: delivered, typed_config: @EXT_PROC@}]`,
	"cds.yaml":  `resources: [{"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, ...@CLUSTER@}]`,
}
