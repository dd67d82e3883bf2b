package check_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/pectl/envoyconfig/check"
	"policyengine.dev/tools/pectl/envoyconfig/internal/sample"
)

// TestKubernetes proves that Envoy's configuration is found, and judged, in what people
// have in files for Kubernetes: with the lines of those files, and nothing else said.
func TestKubernetes(t *testing.T) {
	files, err := filepath.Glob("testdata/kubernetes/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var chains, want []string
			for _, m := range header.FindAllSubmatch(src, -1) {
				switch string(m[1]) {
				case "chains":
					chains = strings.Fields(string(m[2]))
				case "found":
					want = strings.Split(string(m[2]), ", ")
				}
			}
			r, err := check.Check([]check.File{{Name: file, Src: src}}, sample.Needs(t, config.DefaultEngine(), chains...), check.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range r.Findings {
				got = append(got, fmt.Sprintf("%s %s %d", f.Severity, f.Rule, f.Line))
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("found %q\nwant  %q\n%s", got, want, encode(t, r.Findings))
			}
		})
	}
}
