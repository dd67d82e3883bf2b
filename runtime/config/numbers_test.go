package config_test

import (
	"testing"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/schema"
)

// TestLargeNumbersStayWhatTheyAre proves that a number which no float holds comes to the
// worker digit by digit, from files in each style and from a message.
func TestLargeNumbersStayWhatTheyAre(t *testing.T) {
	const want = `{"n":9007199254740993,"l":[-9007199254740993,18446744073709551615]}`
	message := &configv1.Configuration{Chains: []*configv1.Chain{{Name: "c", Policies: []*configv1.Step{{Name: "p", Version: "v1", Params: want}}}}}
	for name, src := range map[string]string{
		"a block":   "chains:\n- name: c\n  policies:\n  - name: p\n    version: v1\n    params:\n      n: 9007199254740993\n      l:\n      - -9007199254740993\n      - 18446744073709551615\n",
		"a flow":    "chains: [{name: c, policies: [{name: p, version: v1, params: {n: 9007199254740993, l: [-9007199254740993, 18446744073709551615]}}]}]\n",
		"JSON":      `{"chains":[{"name":"c","policies":[{"name":"p","version":"v1","params":` + want + `}]}]}`,
		"a message": string(schema.Encode(message)),
	} {
		spec, _, err := config.ParseChains([]config.File{{Name: "c.yaml", Src: []byte(src)}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := string(spec.Chains[0].Policies[0].Params); got != want {
			t.Errorf("%s: the parameters are %s", name, got)
		}
	}
}
