package sbom_test

import (
	"bytes"
	"strings"
	"testing"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	spdxjson "github.com/spdx/tools-golang/json"

	"policyengine.dev/runtime/bundle"
	"policyengine.dev/tools/builder/sbom"
	"policyengine.dev/tools/licenses"
)

var manifest = &bundle.Manifest{
	Schema: bundle.Schema, Bundle: "payments", Go: "go1.26.8",
	Policies: []bundle.Policy{{Name: "a", Version: "v1.0.0", ImportPath: "example.com/a", Definition: bundle.Digest(nil)}},
	Modules: []bundle.Module{
		{Path: "example.com/a", Version: "v1.0.0+incompatible"},
		{Path: "example.com/b", Version: "v2.0.0"},
		{Path: "policyengine.dev", Version: bundle.Devel},
	},
}

var table = licenses.Table{
	{"example.com/a", "v1.0.0+incompatible"}: {Licenses: []string{"MIT"}},
	{"example.com/b", "v2.0.0"}:              {Licenses: []string{"Apache-2.0", "BSD-3-Clause"}},
	{"example.com/b", "v1.0.0"}:              {Licenses: []string{"GPL-3.0"}},
}

func components(t *testing.T) []sbom.Component {
	t.Helper()
	all, err := sbom.Components(manifest, table, []string{"MIT", "Apache-2.0", "BSD-3-Clause"})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// want has name, version, package URL and licences of each component.
var want = [][4]string{
	{"stdlib", "go1.26.8", "pkg:golang/stdlib@1.26.8", "BSD-3-Clause"},
	{"example.com/a", "v1.0.0+incompatible", "pkg:golang/example.com/a@v1.0.0%2Bincompatible", "MIT"},
	{"example.com/b", "v2.0.0", "pkg:golang/example.com/b@v2.0.0", "Apache-2.0 AND BSD-3-Clause"},
	{"policyengine.dev", "(devel)", "pkg:golang/policyengine.dev", "NOASSERTION"},
}

func TestCycloneDX(t *testing.T) {
	text, err := sbom.CycloneDX(manifest, components(t))
	if err != nil {
		t.Fatal(err)
	}
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(text), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if bom.SpecVersion != cyclonedx.SpecVersion1_6 || bom.Metadata.Component.Name != "payments" {
		t.Errorf("version %s, of %s", bom.SpecVersion, bom.Metadata.Component.Name)
	}
	if got, want := (*bom.Metadata.Component.Properties)[0].Value, "a@v1.0.0 "+bundle.Digest(nil); got != want {
		t.Errorf("policy %s, want %s", got, want)
	}
	var got [][4]string
	for _, c := range *bom.Components {
		ids := []string{}
		if c.Licenses != nil {
			for _, l := range *c.Licenses {
				ids = append(ids, l.License.ID)
			}
		}
		license := strings.Join(ids, " AND ")
		if license == "" {
			license = "NOASSERTION"
		}
		got = append(got, [4]string{c.Name, c.Version, c.PackageURL, license})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	again, err := sbom.CycloneDX(manifest, components(t))
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("a second bill differs, %v", err)
	}
}

func TestSPDX(t *testing.T) {
	text, err := sbom.SPDX(manifest, components(t))
	if err != nil {
		t.Fatal(err)
	}
	document, err := spdxjson.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if document.SPDXVersion != "SPDX-2.3" || document.DocumentName != "payments" || document.Packages[0].PackageName != "payments" {
		t.Errorf("%s of %s", document.SPDXVersion, document.DocumentName)
	}
	var got [][4]string
	for _, p := range document.Packages[1:] {
		got = append(got, [4]string{p.PackageName, p.PackageVersion, p.PackageExternalReferences[0].Locator, p.PackageLicenseConcluded})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(document.Relationships) != len(document.Packages) {
		t.Errorf("%d relationships between %d packages", len(document.Relationships), len(document.Packages))
	}
	again, err := sbom.SPDX(manifest, components(t))
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("a second bill differs, %v", err)
	}
}

// TestComponentsRefuses proves that all modules without a licence, and all with one that is not allowed, are named at once.
func TestComponentsRefuses(t *testing.T) {
	m := *manifest
	m.Modules = append(m.Modules, bundle.Module{Path: "example.com/c", Version: "v1.0.0"})
	_, err := sbom.Components(&m, table, []string{"MIT", "BSD-3-Clause"})
	if err == nil {
		t.Fatal("no error")
	}
	wanted := "example.com/c v1.0.0: its licence is not in the table of licences, and allowed_licenses is set; run go test ./tools/licenses -update, or give the bundle a table with it\n" +
		"example.com/b v2.0.0: the licence Apache-2.0 is not among allowed_licenses: MIT, BSD-3-Clause"
	if err.Error() != wanted {
		t.Errorf("got\n%v\nwant\n%s", err, wanted)
	}
	all, err := sbom.Components(&m, table, nil)
	if err != nil {
		t.Fatalf("without a list every licence is allowed: %v", err)
	}
	if last := all[len(all)-1]; last.Path != "example.com/c" || last.Licenses != nil {
		t.Errorf("got %v, want example.com/c without a licence", last)
	}
}
