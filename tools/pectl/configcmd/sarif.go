package configcmd

import (
	"encoding/json"
	"io"
	"net/url"
	"path"
	"path/filepath"

	"policyengine.dev/runtime/admin"
)

// The part of SARIF 2.1.0 that a check needs.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string    `json:"id"`
		ShortDescription sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
	}
)

const (
	sarifProblem = "configuration-problem"
	sarifWarning = "configuration-warning"
)

// writeSARIF writes a log with one run and one result for each problem and warning.
func writeSARIF(w io.Writer, r admin.CheckReport) error {
	run := sarifRun{
		Tool: sarifTool{sarifDriver{Name: "policy-engine", Rules: []sarifRule{
			{sarifProblem, sarifText{"The engine refuses the configuration."}},
			{sarifWarning, sarifText{"The engine accepts the configuration with a warning."}},
		}}},
		ColumnKind: "unicodeCodePoints",
		Results:    []sarifResult{},
	}
	for _, f := range findings(r) {
		run.Results = append(run.Results, f.sarif())
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{
		Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run},
	})
}

func (f finding) sarif() sarifResult {
	result := sarifResult{RuleID: sarifProblem, Level: "error", Message: sarifText{f.text()}}
	if f.warning {
		result.RuleID, result.Level = sarifWarning, "warning"
	}
	if f.File == "" {
		return result
	}
	at := sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{fileURI(f.File)}}}
	if f.Line > 0 {
		at.Physical.Region = &sarifRegion{f.Line, f.Column}
	}
	if f.Path != "" {
		at.Logical = []sarifLogical{{f.Path}}
	}
	result.Locations = []sarifLocation{at}
	return result
}

// fileURI is a file's name as a URI: relative for a relative name.
func fileURI(name string) string {
	u := url.URL{Path: filepath.ToSlash(name)}
	if path.IsAbs(u.Path) {
		u.Scheme = "file"
	}
	return u.String()
}
