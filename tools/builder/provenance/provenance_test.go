package provenance_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"policyengine.dev/runtime/bundle"
	"policyengine.dev/tools/builder/provenance"
)

var digest = strings.Repeat("ab", 32)

func build(t *testing.T) provenance.Build {
	t.Helper()
	raw, err := hex.DecodeString(digest)
	if err != nil {
		t.Fatal(err)
	}
	sum := "h1:" + base64.StdEncoding.EncodeToString(raw)
	sums, err := provenance.ReadSums([]byte("example.com/a v1.0.0 " + sum + "\nexample.com/a v1.0.0/go.mod " + sum + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.go")
	if err := os.WriteFile(file, []byte("package x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := provenance.ReadSource("x/x.go", file)
	if err != nil {
		t.Fatal(err)
	}
	return provenance.Build{
		Image: digest, Builder: "https://ci.example/builder", Sums: sums, Sources: []provenance.Source{source},
		Manifest: &bundle.Manifest{
			Schema: bundle.Schema, Bundle: "payments", Go: "go1.26.8",
			Policies: []bundle.Policy{{Name: "a", Version: "v1.0.0"}},
			Modules:  []bundle.Module{{Path: "example.com/a", Version: "v1.0.0"}, {Path: "policyengine.dev", Version: bundle.Devel}},
		},
	}
}

// TestStatement proves that the statement is about the image, and names its sources and modules by digest.
func TestStatement(t *testing.T) {
	text, err := provenance.Statement(build(t))
	if err != nil {
		t.Fatal(err)
	}
	var statement intoto.Statement
	if err := protojson.Unmarshal(text, &statement); err != nil {
		t.Fatal(err)
	}
	if err := statement.Validate(); err != nil {
		t.Error(err)
	}
	if got := statement.Subject[0]; got.Name != "payments" || got.Digest["sha256"] != digest || statement.PredicateType != "https://slsa.dev/provenance/v1" {
		t.Errorf("%s about %v", statement.PredicateType, got)
	}
	var got struct {
		Predicate struct {
			BuildDefinition struct {
				ExternalParameters   any
				ResolvedDependencies []any
			}
			RunDetails struct{ Builder struct{ ID string } }
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := []any{
		map[string]any{"name": "x/x.go", "digest": map[string]any{"sha256": strings.TrimPrefix(bundle.Digest([]byte("package x\n")), "sha256:")}},
		map[string]any{"uri": "pkg:golang/example.com/a@v1.0.0", "digest": map[string]any{"dirHash": digest}},
	}
	if diff := cmp.Diff(want, got.Predicate.BuildDefinition.ResolvedDependencies); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(any(map[string]any{"bundle": "payments", "policies": []any{"a@v1.0.0"}}), got.Predicate.BuildDefinition.ExternalParameters); diff != "" {
		t.Error(diff)
	}
	if got.Predicate.RunDetails.Builder.ID != "https://ci.example/builder" {
		t.Errorf("built by %s", got.Predicate.RunDetails.Builder.ID)
	}
	for range 20 {
		again, err := provenance.Statement(build(t))
		if err != nil || !bytes.Equal(text, again) {
			t.Fatalf("another statement differs, %v", err)
		}
	}
}

func TestRefuses(t *testing.T) {
	for want, change := range map[string]func(*provenance.Build){
		"go.sum has no checksum of example.com/a v1.0.0": func(b *provenance.Build) { b.Sums = nil },
		"checking the provenance":                        func(b *provenance.Build) { b.Builder = "" },
		"checking the statement":                         func(b *provenance.Build) { b.Image = "" },
	} {
		b := build(t)
		change(&b)
		if _, err := provenance.Statement(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, line := range []string{"a v1.0.0", "a v1.0.0 h2:x", "a v1.0.0 h1:eA==", "a v1.0.0 h1:!"} {
		if _, err := provenance.ReadSums([]byte(line)); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: got %v, want an error for line 1", line, err)
		}
	}
	if _, err := provenance.ReadSource("x", t.TempDir()+"/none"); err == nil {
		t.Error("a missing source is read")
	}
}
