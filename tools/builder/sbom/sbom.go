// Package sbom writes what is linked into a bundle as a software bill of materials, in CycloneDX and in SPDX.
package sbom

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"policyengine.dev/runtime/bundle"
	"policyengine.dev/tools/licenses"
)

// A Component is the standard library or a Go module that is linked.
type Component struct {
	bundle.Module
	// Licenses are SPDX identifiers. They are empty for a module that is built from a checkout, and for one that the table lacks.
	Licenses []string
}

// stdlib is the name by which vulnerability databases know Go's standard library.
const stdlib = "stdlib"

// Components returns what the manifest lists with its licences: the standard library first, then the modules. If allowed
// is not empty, each licence has to be known and in it. The error names every module that the table lacks or whose licence
// is not allowed.
func Components(m *bundle.Manifest, table licenses.Table, allowed []string) ([]Component, error) {
	var problems []error
	all := []Component{{bundle.Module{Path: stdlib, Version: m.Go}, []string{"BSD-3-Clause"}}}
	for _, module := range m.Modules {
		c := Component{Module: module}
		if module.Version != bundle.Devel {
			if c.Licenses = table.Of(module.Path, module.Version); c.Licenses == nil && len(allowed) > 0 {
				problems = append(problems, fmt.Errorf("%s %s: its licence is not in the table of licences, and allowed_licenses is set; run go test ./tools/licenses -update, or give the bundle a table with it", module.Path, module.Version))
			}
		}
		all = append(all, c)
	}
	for _, c := range all {
		for _, license := range c.Licenses {
			if len(allowed) > 0 && !slices.Contains(allowed, license) {
				problems = append(problems, fmt.Errorf("%s %s: the licence %s is not among allowed_licenses: %s", c.Path, c.Version, license, strings.Join(allowed, ", ")))
			}
		}
	}
	return all, errors.Join(problems...)
}

// purl returns the package URL of a component.
func (c Component) purl() string {
	switch {
	case c.Path == stdlib:
		return "pkg:golang/stdlib@" + strings.TrimPrefix(c.Version, "go")
	case c.Version == bundle.Devel:
		return "pkg:golang/" + c.Path
	}
	return "pkg:golang/" + c.Path + "@" + strings.ReplaceAll(c.Version, "+", "%2B")
}

// CycloneDX returns the bill as CycloneDX 1.6 in JSON. Equal input gives equal bytes: there is no time and no serial number
// in it.
func CycloneDX(m *bundle.Manifest, components []Component) ([]byte, error) {
	properties := []cyclonedx.Property{}
	for _, p := range m.Policies {
		properties = append(properties, cyclonedx.Property{Name: "dev.policyengine:policy", Value: p.Name + "@" + p.Version + " " + p.Definition})
	}
	root := cyclonedx.Component{BOMRef: "bundle", Type: cyclonedx.ComponentTypeApplication, Name: m.Bundle, Properties: &properties}
	list, refs := []cyclonedx.Component{}, []string{}
	for _, c := range components {
		component := cyclonedx.Component{BOMRef: c.purl(), Type: cyclonedx.ComponentTypeLibrary, Name: c.Path, Version: c.Version, PackageURL: c.purl()}
		if len(c.Licenses) > 0 {
			found := cyclonedx.Licenses{}
			for _, license := range c.Licenses {
				found = append(found, cyclonedx.LicenseChoice{License: &cyclonedx.License{ID: license}})
			}
			component.Licenses = &found
		}
		list, refs = append(list, component), append(refs, component.BOMRef)
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &root}
	bom.Components = &list
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: root.BOMRef, Dependencies: &refs}}
	var b bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&b, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("encoding CycloneDX: %w", err)
	}
	return b.Bytes(), nil
}

const noAssertion = "NOASSERTION"

// SPDX returns the bill as SPDX 2.3 in JSON. Equal input gives equal bytes: it is dated 1970, and its namespace has the
// manifest's digest.
func SPDX(m *bundle.Manifest, components []Component) ([]byte, error) {
	manifest, err := m.Encode()
	if err != nil {
		return nil, err
	}
	document := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: m.Bundle,
		DocumentNamespace: "https://policyengine.dev/spdx/" + m.Bundle + "-" + strings.TrimPrefix(bundle.Digest(manifest), "sha256:"),
		CreationInfo: &spdx.CreationInfo{
			Created: "1970-01-01T00:00:00Z", Creators: []common.Creator{{CreatorType: "Tool", Creator: "policy_engine_bundle"}},
		},
	}
	const root common.ElementID = "Bundle"
	document.Packages = append(document.Packages, &spdx.Package{
		PackageName: m.Bundle, PackageSPDXIdentifier: root, PackageDownloadLocation: noAssertion, PackageLicenseConcluded: noAssertion,
		PackageLicenseDeclared: noAssertion, PackageCopyrightText: noAssertion, PrimaryPackagePurpose: "APPLICATION",
	})
	document.Relationships = append(document.Relationships, relation("DOCUMENT", root, "DESCRIBES"))
	for i, c := range components {
		license := noAssertion
		if len(c.Licenses) > 0 {
			license = strings.Join(c.Licenses, " AND ")
		}
		id := common.ElementID(fmt.Sprintf("Module-%d", i))
		document.Packages = append(document.Packages, &spdx.Package{
			PackageName: c.Path, PackageVersion: c.Version, PackageSPDXIdentifier: id, PackageDownloadLocation: noAssertion,
			PackageLicenseConcluded: license, PackageLicenseDeclared: license, PackageCopyrightText: noAssertion, PrimaryPackagePurpose: "LIBRARY",
			PackageExternalReferences: []*spdx.PackageExternalReference{{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: c.purl()}},
		})
		document.Relationships = append(document.Relationships, relation(root, id, "CONTAINS"))
	}
	var b bytes.Buffer
	if err := spdxjson.Write(document, &b, spdxjson.Indent("  ")); err != nil {
		return nil, fmt.Errorf("encoding SPDX: %w", err)
	}
	return b.Bytes(), nil
}

func relation(from, to common.ElementID, kind string) *spdx.Relationship {
	return &spdx.Relationship{RefA: common.DocElementID{ElementRefID: from}, RefB: common.DocElementID{ElementRefID: to}, Relationship: kind}
}
