package validated_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/tools/builder/validated"
)

const src = "apiVersion: policyengine/v1\nname: a\nversion: v1.0.0\ndescription: A.\nphases:\n- request_headers\n- response_headers\n"

// TestWrittenAndRead: what one step writes, the next reads, positions included.
func TestWrittenAndRead(t *testing.T) {
	p, err := validated.New("example.com/a", "a/v1.0.0/policy.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := validated.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, got, cmpopts.IgnoreUnexported(definition.Definition{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want := map[string]validated.Position{"request_headers": {Line: 6, Column: 3}, "response_headers": {Line: 7, Column: 3}}
	if diff := cmp.Diff(want, got.PhasesAt); diff != "" || got.NameAt != (validated.Position{Line: 2, Column: 7}) {
		t.Errorf("name at %v, phases (-want +got)\n%s", got.NameAt, diff)
	}
	for name, data := range map[string]string{
		"nothing":       "",
		"another field": strings.Replace(string(data), "{", `{"x":1,`, 1),
		"two values":    string(data) + "{}",
		// Somebody who writes the file by hand does not get round the checks.
		"a definition that is not valid": strings.Replace(string(data), `"request_headers","response_headers"]`, `"nothing"]`, 1),
	} {
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := validated.ReadFile(file); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	if _, err := validated.ReadFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file is read")
	}
}

func TestInvalid(t *testing.T) {
	_, err := validated.New("example.com/a", "a/v1.0.1/policy.yaml", []byte(src))
	if err == nil || !strings.HasPrefix(err.Error(), "a/v1.0.1/policy.yaml:3:10: version: the directory is named v1.0.1") {
		t.Errorf("got %v", err)
	}
}
