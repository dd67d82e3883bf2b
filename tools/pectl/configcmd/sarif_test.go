package configcmd_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSARIF proves that the log has what SARIF 2.1.0 requires, with a rule for each result
// and a place for each problem of a file.
func TestSARIF(t *testing.T) {
	dir := files(t, map[string]string{"a b.yaml": "chains:\n- name: unused\n  policies: []\nroutes:\n- {name: charge, chain: none}\n"})
	type place struct {
		URI          string
		Line, Column int
		Path         string
	}
	type result struct {
		Rule, Level string
		At          []place
	}
	for _, tt := range []struct {
		name string
		args []string
		want []result
	}{
		{"a problem", []string{"a b.yaml"}, []result{
			{"configuration-problem", "error", []place{{"a%20b.yaml", 5, 25, "routes[0].chain"}}},
			{"configuration-warning", "warning", []place{{"a%20b.yaml", 2, 3, "chains[0]"}}},
		}},
		{"a problem without a place", []string{"none.yaml"}, []result{{"configuration-problem", "error", nil}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, problems := call(t, dir, append([]string{"check", "--format=sarif"}, tt.args...)...)
			var log struct {
				Schema  string `json:"$schema"`
				Version string
				Runs    []struct {
					ColumnKind string
					Tool       struct {
						Driver struct {
							Name  string
							Rules []struct{ ID string }
						}
					}
					Results []struct {
						RuleID, Level string
						Message       struct{ Text string }
						Locations     []struct {
							PhysicalLocation struct {
								ArtifactLocation struct{ URI string }
								Region           struct{ StartLine, StartColumn int }
							}
							LogicalLocations []struct{ FullyQualifiedName string }
						}
					}
				}
			}
			if err := json.Unmarshal([]byte(out), &log); err != nil || code != 3 {
				t.Fatalf("exit code %d, %v: %s%s", code, err, out, problems)
			}
			if log.Version != "2.1.0" || log.Schema == "" || len(log.Runs) != 1 {
				t.Fatalf("the log is %s", out)
			}
			run := log.Runs[0]
			rules := map[string]bool{}
			for _, r := range run.Tool.Driver.Rules {
				rules[r.ID] = true
			}
			if run.Tool.Driver.Name == "" || run.ColumnKind != "unicodeCodePoints" {
				t.Errorf("the run is %+v", run)
			}
			var got []result
			for _, r := range run.Results {
				if !rules[r.RuleID] || r.Message.Text == "" {
					t.Errorf("a result without a rule or a text: %+v", r)
				}
				one := result{Rule: r.RuleID, Level: r.Level}
				for _, l := range r.Locations {
					at := l.PhysicalLocation
					one.At = append(one.At, place{at.ArtifactLocation.URI, at.Region.StartLine, at.Region.StartColumn, l.LogicalLocations[0].FullyQualifiedName})
				}
				got = append(got, one)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}
