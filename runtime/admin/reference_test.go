package admin_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/telemetry"
)

var update = flag.Bool("update", false, "write docs/reference/metrics.md anew")

// reference is the page of all metrics.
const reference = "../../docs/reference/metrics.md"

// TestReferenceIsCurrent proves that the page has every metric, with its kind, its
// labels and what it is.
func TestReferenceIsCurrent(t *testing.T) {
	p := newPage(t, false)
	if err := p.update(`{}`, "one"); err != nil {
		t.Fatal(err)
	}
	p.streams.Responded("policy_engine.NOT_READY")
	collector := admin.NewCollector(p.worker, &p.streams)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	described := make(chan *prometheus.Desc, 1000)
	collector.Describe(described)
	if len(families) != len(described) {
		t.Errorf("%d metrics are shown, %d described", len(families), len(described))
	}
	var all []family
	for _, f := range families {
		one := family{name: f.GetName(), kind: strings.ToLower(f.GetType().String()), help: f.GetHelp()}
		for _, l := range f.GetMetric()[0].GetLabel() {
			one.labels = append(one.labels, "`"+l.GetName()+"`")
		}
		all = append(all, one)
	}
	want := metricsPage(all)
	if *update {
		if err := os.WriteFile(reference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/reference/metrics.md is not what there is; renew it: go test ./runtime/admin -run TestReferenceIsCurrent -update")
	}
}

// family is all metrics of one name.
type family struct {
	name, kind, help string
	labels           []string
}

func metricsPage(families []family) string {
	var b strings.Builder
	b.WriteString(`# Metrics

<!-- Written by go test ./runtime/admin -run TestReferenceIsCurrent -update -->

What ` + "`/metrics`" + ` of the admin listener shows, for Prometheus. Series of policies are there for the chains in force, so
that routes, chains and policies bound their number.

| metric | kind | labels | what it is |
|---|---|---|---|
`)
	for _, f := range families {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, strings.Join(f.labels, " "), f.help)
	}
	var outcomes []string
	for o := telemetry.StepOutcome(0); o < telemetry.StepOutcomeCount; o++ {
		outcomes = append(outcomes, o.String())
	}
	code := func(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }
	fmt.Fprintf(&b, `
| label | values |
|---|---|
| %[1]schain%[1]s, %[1]sid%[1]s | the chain, and the policy's id in it: its name, unless it occurs twice |
| %[1]spolicy%[1]s, %[1]sversion%[1]s | the policy version; of %[1]sconfig_info%[1]s, the version of the configuration: a hash of its content |
| %[1]smode%[1]s | %[1]senforce%[1]s or %[1]sshadow%[1]s |
| %[1]sphase%[1]s | the phases of the policy, such as %[1]srequest_headers%[1]s |
| %[1]soutcome%[1]s | %[2]s |
| %[1]spart%[1]s | %[3]s |
| %[1]sdetails%[1]s | Envoy's response code details; %[1]s%[4]s%[1]s for those beyond a thousand different ones |

Durations are histograms with buckets from 10 µs to 1 s. Policies may add metrics of their own,
%[1]spolicy_engine_policy_<policy>_<name>%[1]s with the labels %[1]schain%[1]s, %[1]sid%[1]s and %[1]sversion%[1]s: see the policy's README. What
Go and the operating system tell of the process is in %[1]sgo_*%[1]s and %[1]sprocess_*%[1]s.
`, "`", code(outcomes), code(telemetry.PartNames[:]), telemetry.OtherDetails)
	return b.String()
}
