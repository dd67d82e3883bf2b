package engines_test

import (
	"os/exec"
	"strings"
	"testing"

	"policyengine.dev/envoy_test/engines"
)

func TestEnginesHaveTheirPolicies(t *testing.T) {
	for name, c := range map[string]struct {
		engine func() (string, error)
		want   []string
	}{
		"payments": {engines.Payments, []string{"api-key-validation", "set-header"}},
		"cases":    {engines.Cases, []string{"api-key-validation", "set-header", "probe"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), engines.Binary(t, c.engine), "-policies").CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %s among\n%s", want, out)
				}
			}
		})
	}
}
