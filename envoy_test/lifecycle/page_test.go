package lifecycle_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// yamlBlock is a fenced block of YAML.
var yamlBlock = regexp.MustCompile("(?m)^```yaml\n((?s:.*?))^```$")

// onPage returns the block of the operator's page that begins so, with its directories
// and addresses replaced.
func onPage(t *testing.T, start string, replace ...string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operator.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range yamlBlock.FindAllStringSubmatch(string(page), -1) {
		if strings.HasPrefix(b[1], start) {
			return strings.NewReplacer(replace...).Replace(b[1])
		}
	}
	t.Fatalf("docs/operator.md has no block that begins with %q", start)
	return ""
}

func decoded(t *testing.T, text string) (all map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestTheOperatorsPageSetsUpTLS shows that what the page says about mTLS works as it
// stands there, and keeps out who has another name.
func TestTheOperatorsPageSetsUpTLS(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		san    string
		served bool
	}{
		"an Envoy with the name": {"spiffe://example.org/envoy", true},
		"an Envoy with another":  {"spiffe://example.org/another", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			a := s.authority("ours")
			a.issue("engine", "engine.example.org")
			a.issue("envoy", c.san)
			s.trust("clients.pem", a)
			s.trust("engines.pem", a)
			secret := filepath.Join(s.dir, "engine-secret.yaml")
			replace := []string{
				"/etc/policy-engine/tls", s.dir, "/etc/envoy/tls", s.dir, "/etc/envoy/engine-secret.yaml", secret,
				"0.0.0.0:9001", "127.0.0.1:0",
			}
			s.put("engine-secret.yaml", []byte(onPage(t, "# /etc/envoy/engine-secret.yaml", replace...)))
			config := decoded(t, onPage(t, "# engine.yaml\nlisteners:", replace...))
			config["listeners"] = append([]any{map[string]any{"address": "unix:" + filepath.Join(s.dir, "only", "engine.sock")}},
				config["listeners"].([]any)...)
			e := s.engine("only", config)
			s.front(secured(t, e), decoded(t, onPage(t, "# In Envoy, the engine's cluster.", replace...)))
			got := s.get("/app")
			if err := got.signed(); c.served && err != nil {
				t.Error(err)
			}
			if err := s.refused(got); !c.served && err != nil {
				t.Error(err)
			}
		})
	}
}
