package admin_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
)

var update = flag.Bool("update", false, "write the table of metrics in docs/telemetry.md")

const documentation = "../../docs/telemetry.md"

// family is a metric of any labels.
type family struct {
	name, kind, help string
	// names are the labels', of which values has all values.
	names  []string
	values map[string][]string
}

// families are all metrics of an engine that has counted something of everything.
func families(t *testing.T) []family {
	t.Helper()
	p := newPage(t, false)
	if _, err := p.worker.Update(context.Background(), large()); err != nil {
		t.Fatal(err)
	}
	p.streams.Responded("policy_engine.key@v1.0.0.NO")
	s := p.worker.Acquire()
	defer s.Release()
	for _, chain := range s.Chains() {
		for step := range chain.Counted {
			for o := range telemetry.StepOutcome(telemetry.StepOutcomeCount) {
				step.Metrics.Observe(policy.RequestHeaders, o, 1)
			}
			step.Metrics.Disagreements.Add(1)
			step.Metrics.Abandoned.Add(1)
		}
	}
	for route := range s.Routes {
		for result := range telemetry.RequestResult(telemetry.RequestResultCount) {
			s.Requests(route).Observe(result)
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	gathered, err := parser.TextToMetricFamilies(strings.NewReader(p.want("/metrics", 200)))
	if err != nil {
		t.Fatal(err)
	}
	var all []family
	for _, name := range slices.Sorted(maps.Keys(gathered)) {
		g := gathered[name]
		f := family{name: g.GetName(), kind: strings.ToLower(g.GetType().String()), help: g.GetHelp(), values: map[string][]string{}}
		for _, m := range g.Metric {
			for _, l := range m.Label {
				f.values[l.GetName()] = append(f.values[l.GetName()], l.GetValue())
			}
		}
		f.names = slices.Sorted(maps.Keys(f.values))
		all = append(all, f)
	}
	return all
}

// TestDocumentation holds that the documentation has the metrics as they are.
func TestDocumentation(t *testing.T) {
	var table strings.Builder
	table.WriteString("\n| metric | kind | labels | |\n|---|---|---|---|\n")
	for _, f := range families(t) {
		labels := make([]string, 0, 8)
		for _, l := range f.names {
			labels = append(labels, "`"+l+"`")
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", f.name, f.kind, strings.Join(labels, ", "), f.help)
	}
	b, err := os.ReadFile(documentation)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), "<!-- metrics -->")
	_, after, ended := strings.Cut(rest, "<!-- end of metrics -->")
	if !ok || !ended {
		t.Fatal("the table's place is gone")
	}
	want := before + "<!-- metrics -->" + table.String() + "<!-- end of metrics -->" + after
	if *update {
		if err := os.WriteFile(documentation, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(b) != want {
		t.Error("the metrics are documented otherwise; run this test with -update")
	}
}

var (
	promQL   = regexp.MustCompile("(?s)```promql\n(.*?)```")
	comment  = regexp.MustCompile(`(?m)^#.*$`)
	metric   = regexp.MustCompile(`policy_engine_[a-z_]*[a-z](\{[^}]*\})?`)
	selector = regexp.MustCompile(`([a-z_]+) *(?:=~|!=|=|!~) *"([^"]*)"`)
	grouping = regexp.MustCompile(`(?:by|on) \(([a-z_, ]*)\)`)
)

// TestQueries proves that the queries in the documentation name metrics, labels and
// values of labels that there are.
func TestQueries(t *testing.T) {
	b, err := os.ReadFile(documentation)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string][]string{}
	values := map[string]map[string]bool{}
	for _, f := range families(t) {
		known[f.name] = f.names
		for name, all := range f.values {
			if values[name] == nil {
				values[name] = map[string]bool{}
			}
			for _, v := range all {
				values[name][v] = true
			}
		}
		if f.kind == "histogram" {
			known[f.name+"_sum"], known[f.name+"_count"] = f.names, f.names
			known[f.name+"_bucket"] = append([]string{"le"}, f.names...)
		}
	}
	values["mode"]["enforce"] = true
	blocks := promQL.FindAllStringSubmatch(string(b), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks", len(blocks))
	}
	asked := 0
	// Every scrape adds the instance, and one query makes the reason.
	elsewhere := []string{"", "instance", "reason"}
	for _, block := range blocks {
		for query := range strings.SplitSeq(comment.ReplaceAllString(block[1], ""), "\n\n") {
			var labels []string
			for _, m := range metric.FindAllString(query, -1) {
				name, _, _ := strings.Cut(m, "{")
				if _, ok := known[name]; !ok {
					t.Errorf("there is no metric %s", name)
					continue
				}
				asked++
				labels = append(labels, known[name]...)
				for _, s := range selector.FindAllStringSubmatch(m, -1) {
					if !slices.Contains(known[name], s[1]) {
						t.Errorf("%s has no label %s", name, s[1])
					}
					for v := range strings.SplitSeq(s[2], "|") {
						if s[1] != "details" && !values[s[1]][v] {
							t.Errorf("no %s is %q", s[1], v)
						}
					}
				}
			}
			for _, g := range grouping.FindAllStringSubmatch(query, -1) {
				for l := range strings.SplitSeq(g[1], ",") {
					if l = strings.TrimSpace(l); !slices.Contains(elsewhere, l) && !slices.Contains(labels, l) {
						t.Errorf("%s: nothing has the label %s", strings.TrimSpace(query), l)
					}
				}
			}
		}
	}
	if asked < 20 {
		t.Errorf("only %d metrics are in the queries", asked)
	}
}
