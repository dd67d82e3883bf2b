package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/tools/envoy"
)

// mine is what an author writes who goes on from a bundle to Envoy.
const mine = `chains:
- name: mine
  policies:
  - {name: api-key-validation, version: v1, params: {header: x-api-key, keys: [{id: me, sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}]}}
- name: open
  policies:
  - {name: set-header, version: v1, when: 'attributes["source.address"] != ""', params: {response: {set: [{name: x-mine, value: "yes"}]}}}
- name: near
  policies:
  - {name: ip-allow-deny, version: v1, params: {allow: [127.0.0.0/8]}}
- name: far
  policies:
  - {name: ip-allow-deny, version: v1, params: {deny: [127.0.0.0/8]}}
routes:
- {name: closed, chain: mine}
- {name: open, chain: open}
- {name: near, chain: near}
- {name: far, chain: far}
`

func chainsFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A bundle and chains of somebody's own are shown behind Envoy, with the attributes that
// conditions and policies read.
func TestABundleAndChainsOfOnesOwn(t *testing.T) {
	envoy.Binary(t)
	bundle := engines.Binary(t, engines.Payments)
	for _, args := range [][]string{
		{"--once", "--bundle", bundle, "--chains", chainsFile(t, mine)},
		{"--once", "--chains", chainsFile(t, mine)},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), args, &out); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		lines := strings.Join(strings.Fields(out.String()), " ")
		for _, want := range []string{"GET /closed 401 api-key-validation v1.1.0: API_KEY_MISSING", "GET /open 200 nobody: passed to the upstream",
			"GET /near 200 nobody: passed to the upstream", "GET /far 403 ip-allow-deny v1.0.0: ADDRESS_DENIED"} {
			if !strings.Contains(lines, want) {
				t.Errorf("%q: no %q in\n%s", args, want, out.String())
			}
		}
	}
}

func TestMistakesInOnesOwnChains(t *testing.T) {
	bundle := engines.Binary(t, engines.Payments)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no chains", []string{"--bundle", "//bundles:mine"}, "--bundle requires --chains FILE"},
		{"no file", []string{"--chains", "none.yaml"}, "reading the chains"},
		{"a file that is no YAML", []string{"--chains", chainsFile(t, "chains: [")}, "mine.yaml:1:"},
		{"no routes", []string{"--chains", chainsFile(t, "chains: []\nroutes: []\n")}, "has no routes"},
		{"a policy that the bundle lacks", []string{"--bundle", bundle, "--chains", chainsFile(t, strings.Replace(mine, "set-header", "set-heater", 1))}, "mine.yaml:7:"},
		{"a bundle that is none", []string{"--bundle", "bundles:mine", "--chains", chainsFile(t, mine)}, "no label of a bundle"},
		{"an argument that is not a flag", []string{"--once", "chains.yaml"}, `unexpected argument "chains.yaml"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := run(t.Context(), append(tt.args, "--once"), &out); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
