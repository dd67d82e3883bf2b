package configcmd_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestExplain proves that the command gives the engine's explanation, as text and as JSON,
// by the settings of engine.yaml, and its problems with their places.
func TestExplain(t *testing.T) {
	dir := files(t, map[string]string{
		"c.yaml": chains, "r.yaml": "routes:\n- {name: \"shop/**\", chain: payments}\n", "bad.yaml": "chains: 7\n",
		"engine.yaml": "source: {path: none}\nlimits: {body: 1KiB}\n",
	})
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
		err  string
	}{
		{"text", []string{"shop/cart", "c.yaml", "r.yaml"}, 0, "route shop/cart: chain payments\n  entry shop/**: it is the only pattern that fits", ""},
		{"engine.yaml", []string{"shop/cart", "c.yaml", "r.yaml", "--config", "engine.yaml"}, 0, "1024 bytes (limits.body of engine.yaml)", ""},
		{"a problem", []string{"shop", "bad.yaml"}, 1, "", "bad.yaml:1:9: chains: "},
		{"no files", []string{"shop"}, 2, "", "CHAINS is missing"},
		{"nothing", nil, 2, "", "ROUTE is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, problems := call(t, dir, append([]string{"explain"}, tt.args...)...)
			if code != tt.code || !strings.Contains(out, tt.says) || !strings.Contains(problems, tt.err) {
				t.Errorf("exit code %d, want %d; want %q and %q in\n%s%s", code, tt.code, tt.says, tt.err, out, problems)
			}
		})
	}
	code, out, problems := call(t, dir, "explain", "shop", "c.yaml", "r.yaml", "--json")
	var got struct {
		Entry string
		Chain struct{ Steps []struct{ ID string } }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.Entry != "shop/**" || len(got.Chain.Steps) != 1 || got.Chain.Steps[0].ID != "request-id" {
		t.Errorf("exit code %d, %v, %+v: %s%s", code, err, got, out, problems)
	}
}
