package admin_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/bundle"
)

// manifest is that of the engine that the pages are tested with.
var manifest = &bundle.Manifest{
	Schema: bundle.Schema, Bundle: "payments", Go: "go1.26.8",
	Policies: []bundle.Policy{{Name: "key", Version: "v1.0.0", ImportPath: "example.com/key", Definition: bundle.Digest(nil)}},
	Modules:  []bundle.Module{{Path: "example.com/key", Version: "v1.0.0"}},
}

// TestVersion proves that /version has the manifest, and that the metric identifies it.
func TestVersion(t *testing.T) {
	p := newPage(t, false)
	var got admin.Version
	if err := json.Unmarshal([]byte(p.want("/version", 200)), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(admin.Version{Build: admin.Build{Go: "go1"}, Bundle: manifest}, got); diff != "" {
		t.Error(diff)
	}
	text, err := manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	p.want("/metrics", 200, `policy_engine_build_info{bundle="payments",go="go1",manifest="`+bundle.Digest(text)+`"} 1`)
}
