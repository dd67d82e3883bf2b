package check_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"policyengine.dev/tools/pectl/envoyconfig/check"
)

var update = flag.Bool("update", false, "write the table of rules in docs/envoy-config.md")

const documentation = "../../../../docs/envoy-config.md"

// TestDocumentation holds that the documentation has the rules as they are, and as
// bad as the examples show them to be.
func TestDocumentation(t *testing.T) {
	severities := map[string][]string{}
	for _, s := range []string{"error", "warning", "note"} {
		for _, e := range examples {
			for _, f := range e.found {
				severity, rule, _ := strings.Cut(f, " ")
				if all := severities[rule]; severity == s && (len(all) == 0 || all[len(all)-1] != s) {
					severities[rule] = append(all, s)
				}
			}
		}
	}
	var table strings.Builder
	table.WriteString("\n| rule | | what is looked for |\n|---|---|---|\n")
	for _, r := range check.Rules {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", r.ID, strings.Join(severities[r.ID], " or "), r.What)
	}
	b, err := os.ReadFile(documentation)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), "<!-- rules -->")
	_, after, ended := strings.Cut(rest, "<!-- end of rules -->")
	if !ok || !ended {
		t.Fatal("the table's place is gone")
	}
	want := before + "<!-- rules -->" + table.String() + "<!-- end of rules -->" + after
	if *update {
		if err := os.WriteFile(documentation, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(b) != want {
		t.Error("the rules are documented otherwise; run this test with -update")
	}
}
