package suite_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/sdk/definition"
)

// Each parameter has a description in policy.yaml, and each field of one that is an
// object has one, and a row in the README.
func TestEveryParameterIsDescribed(t *testing.T) {
	each(t, func(t *testing.T, v version) {
		src, err := os.ReadFile(v.file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := definition.Parse(filepath.Join("jwt-validation", filepath.Base(filepath.Dir(v.file)), "policy.yaml"), src)
		if err != nil {
			t.Fatal(err)
		}
		var root schema
		if err := json.Unmarshal(d.Parameters, &root); err != nil {
			t.Fatal(err)
		}
		readme, err := os.ReadFile(filepath.Join(filepath.Dir(v.file), "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		root.visit("", func(path string, s *schema) {
			if s.Description == "" && s.Ref == "" {
				t.Errorf("%s has no description in policy.yaml", path)
			}
			name := strings.TrimPrefix(path, "issuers[].")
			if !strings.Contains(string(readme), "`"+name+"`") && !strings.HasSuffix(path, "[]") && name != "keys.inline" && name != "keys.inline[].jwk.kty" {
				t.Errorf("%s has no row in the README", name)
			}
		})
	})
}

type schema struct {
	Description string             `json:"description"`
	Ref         string             `json:"$ref"`
	Properties  map[string]*schema `json:"properties"`
	Items       *schema            `json:"items"`
}

func (s *schema) visit(path string, f func(string, *schema)) {
	for name, p := range s.Properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		f(at, p)
		p.visit(at, f)
	}
	if s.Items != nil && s.Items.Properties != nil {
		f(path+"[]", s.Items)
		s.Items.visit(path+"[]", f)
	}
}
