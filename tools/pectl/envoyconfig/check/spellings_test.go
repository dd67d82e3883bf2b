package check_test

import (
	"context"
	"net/http"
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
)

// spelled are mistakes, each in ways to write it that Envoy takes for the same. What
// Envoy makes of every way to write a value is tested in package message.
var spelled = []struct {
	name   string
	place  string // where the value goes, as in examples
	ways   []string
	found  string
	bypass bool
}{
	{"a filter that is off", "filter.disabled", []string{"true", "True", "TRUE", "yes", "Yes", "on", "ON", "y", `"true"`, `"yes"`, `"1"`, "t"}, "error filter-disabled", true},
	{"a filter that may be left out", "filter.is_optional", []string{"true", "True", "yes"}, "warning filter-optional", false},
	{"a filter that fails open", "ext_proc.failure_mode_allow", []string{"true", "True", "yes", "on", `"True"`}, "error failure-mode-allow", true},
	{"a filter that only watches", "ext_proc.observability_mode", []string{"True", "YES", "On"}, "error observability-mode", true},
	{
		"a route that switches the filter off", "route" + blocks, []string{
			`{"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}`,
			`{"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: True}`,
			`{"@type": x/envoy.config.route.v3.FilterConfig, disabled: yes}`,
			`{` + perRoute + `, disabled: True}`, `{` + perRoute + `, disabled: on}`,
			`{"@type": x/xds.type.v3.TypedStruct, type_url: x/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute, value: {disabled: Yes}}`,
			`{"@type": x/udpa.type.v1.TypedStruct, typeUrl: envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute, value: {disabled: "yes"}}`,
		}, "error route-disabled", true,
	},
	{"a virtual host that switches the filter off", "host" + blocks, []string{`{"@type": x/envoy.config.route.v3.FilterConfig, disabled: True}`}, "error route-disabled", true},
	{
		"a route that fails open", "route" + blocks, []string{
			`{` + perRoute + `, overrides: {failure_mode_allow: {value: true}}}`, `{` + perRoute + `, overrides: {failureModeAllow: yes}}`,
		}, "error route-disabled", true,
	},
	{
		"request headers that are not sent", "ext_proc.processing_mode", []string{
			"{request_header_mode: SKIP, response_header_mode: SKIP}", "{request_header_mode: skip, response_header_mode: skip}",
			"{request_header_mode: 2, response_header_mode: 0x2}", `{requestHeaderMode: "Skip", responseHeaderMode: "2"}`,
		}, "error request-headers-skipped", true,
	},
	{"no time", "ext_proc.message_timeout", []string{"0s", "{seconds: 0}", "{}", "0.000s"}, "error message-timeout", false},
	{"a limit of the cluster", "cluster.circuit_breakers.thresholds.0.max_requests", []string{"100", `"100"`, "{value: 100}", "0x64", "0144", "+100"}, "error cluster-limits", false},
	{"a limit of frames", http2Options + ".max_outbound_control_frames", []string{"1000", "{value: 1000}", "0x3e8"}, "error cluster-frames", false},
	{"a buffer filter in a route's block", "route.typed_per_filter_config.a", []string{`{` + perRoute + `, disabled: True}`}, "warning route-block-unused", false},
	// Correct settings in other spellings have no finding.
	{"time in a message", "ext_proc.message_timeout", []string{"1s", "{seconds: 1}", "1.000s", `{seconds: "1", nanos: 0}`}, "", false},
	{"failing closed", "ext_proc.failure_mode_allow", []string{"false", "no", "off", "False", `"no"`, "~"}, "", false},
	{"limits in a wrapper", "cluster.circuit_breakers.thresholds.0.max_requests", []string{"{value: 1000000}", `"1000000"`, "0xF4240"}, "", false},
	{"modes in small letters", "ext_proc.processing_mode", []string{"{request_header_mode: send, response_header_mode: skip}"}, "", false},
}

// marker stands for a value until its way to be written is put there.
const marker = "THE-VALUE"

// TestEveryWayToWriteIt proves that a mistake is found however it is written, that
// what is right is left alone, and, with the pinned Envoy, that it takes every way, and
// that requests pass where that is said.
func TestEveryWayToWriteIt(t *testing.T) {
	n := sample.Needs(t, config.DefaultEngine(), "headers")
	for _, s := range spelled {
		for _, way := range s.ways {
			t.Run(s.name+": "+way, func(t *testing.T) {
				tree := sample.Generated(t, n, generate.Options{})
				set(t, tree, s.place, marker)
				// The engine is nowhere, so that what passes has passed it by.
				set(t, tree, "cluster.load_assignment.endpoints", `[{lb_endpoints: [{endpoint: {address: {pipe: {path: /nowhere/engine}}}}]}]`)
				src := []byte(strings.ReplaceAll(string(encode(t, tree)), `"`+marker+`"`, way))
				r, err := check.Check([]check.File{{Name: "envoy.yaml", Src: src}}, n, check.Options{})
				if err != nil {
					t.Fatal(err)
				}
				var want []string
				if s.found != "" {
					want = []string{s.found}
				}
				if got := summary(r); !slices.Equal(got, want) {
					t.Errorf("found %v, want %v", got, want)
				}
				binary := envoy.Binary(t)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				e, err := harness.StartEnvoy(ctx, harness.EnvoyOptions{Path: binary, Config: src, Dir: t.TempDir(), LogLevel: "off"})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Stop()
				status := statusOf(ctx, t, e, "/"+n.Routes[0].Name, false)
				if passed := status == http.StatusOK; passed != s.bypass {
					t.Errorf("the request is answered %d", status)
				}
			})
		}
	}
}

// TestNothingUnreadableHidesAnything proves that what Envoy does not take, in every
// part of a configuration, is reported with its place, and that mistakes beside, below
// and behind it are found nevertheless.
func TestNothingUnreadableHidesAnything(t *testing.T) {
	n := sample.Needs(t, config.DefaultEngine(), "headers")
	mistakes := [][2]string{
		{"filter.disabled", "True"}, {"ext_proc.observability_mode", "True"}, {"host.routes.+1", `{name: stranger, match: {prefix: /x}, direct_response: {status: 200}, typed_per_filter_config: {envoy.filters.http.ext_proc: {` + perRoute + `, disabled: True}}}`},
		{"cluster.circuit_breakers.thresholds.0.max_requests", "100"},
	}
	want := []string{"error cluster-limits", "error filter-disabled", "error observability-mode", "error route-disabled"}
	for _, unreadable := range []string{
		"ext_proc.message_timeout", "ext_proc.processing_mode.request_trailer_mode", "ext_proc.mutation_rules.disallow_all", "ext_proc.max_message_timeout", "filter.is_optional", "hcm.stat_prefix",
		"hcm.generate_request_id", "hcm.upgrade_configs", "hcm.access_log", "listener.address", "listener.per_connection_buffer_limit_bytes", "listener.filter_chains.+1", "routes.internal_only_headers",
		"host.domains", "host.routes.+0", "route.match", "route.metadata", "route.decorator", "cluster.type", "cluster.connect_timeout", "cluster.health_checks.0.timeout", "cluster.common_lb_config",
		"static_resources.clusters.+0", "static_resources.listeners.+1", "admin", "node",
	} {
		t.Run(unreadable, func(t *testing.T) {
			tree := sample.Generated(t, n, generate.Options{})
			for _, m := range mistakes {
				set(t, tree, m[0], m[1])
			}
			set(t, tree, unreadable, "[[{neither: 1}, [this, nor: that]], 5]")
			r := run(t, tree, n, check.Options{})
			got := summary(r)
			for _, finding := range want {
				if !slices.Contains(got, finding) {
					t.Errorf("%q is not found: %v", finding, got)
				}
			}
			for _, f := range r.Findings {
				if f.Rule == check.Unreadable || f.Rule == check.UnknownField {
					if f.Line == 0 || !strings.Contains(f.Path, strings.Split(unreadable, ".")[strings.Count(unreadable, ".")]) && !strings.Contains(unreadable, "+") {
						t.Errorf("it is reported elsewhere: %+v", f)
					}
					return
				}
			}
			t.Errorf("what is unreadable is not reported: %v", got)
		})
	}
}
