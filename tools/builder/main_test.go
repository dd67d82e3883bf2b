package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const definitionSource = "apiVersion: policyengine/v1\nname: a\nversion: v1.0.0\ndescription: A.\nphases: [request_headers]\n"

func writeFile(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSteps does what Bazel does for a bundle, short of compiling: validate,
// then generate from what that wrote, the arguments in a file.
func TestSteps(t *testing.T) {
	dir := t.TempDir()
	yaml := writeFile(t, filepath.Join(dir, "a/v1.0.0/policy.yaml"), definitionSource)
	out := filepath.Join(dir, "a.json")
	arguments := writeFile(t, filepath.Join(dir, "args"), strings.Join([]string{"validate", "--importpath", "example.com/a", "--definition", yaml, "--out", out}, "\n")+"\n")
	if err := run([]string{"@" + arguments}, io.Discard); err != nil {
		t.Fatal(err)
	}
	packages, manifest := writeFile(t, filepath.Join(dir, "packages"), "policyengine.dev/x\t\t\n"), filepath.Join(dir, "manifest.json")
	if err := run([]string{"manifest", "--bundle", "b", "--go", "go1.26.8", "--packages", packages, "--policy", out, "--out", manifest}, io.Discard); err != nil {
		t.Fatal(err)
	}
	table, cyclonedx, spdx := writeFile(t, filepath.Join(dir, "licenses.json"), "[]\n"), filepath.Join(dir, "cdx.json"), filepath.Join(dir, "spdx.json")
	if err := run([]string{"sbom", "--manifest", manifest, "--licenses", table, "--cyclonedx", cyclonedx, "--spdx", spdx}, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{cyclonedx, spdx} {
		if bill, err := os.ReadFile(file); err != nil || !strings.Contains(string(bill), "policyengine.dev") {
			t.Errorf("%v\n%s", err, bill)
		}
	}
	for _, program := range []string{"engine", "examples"} {
		main := filepath.Join(dir, program+".go")
		if err := run([]string{"generate", "--program", program, "--policy", out, "--manifest", manifest, "--out", main}, io.Discard); err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile(main)
		if err != nil || !strings.Contains(string(source), `a_v1_0_0 "example.com/a"`) {
			t.Errorf("%s: %v\n%s", program, err, source)
		}
		if embedded := strings.Contains(string(source), "policyengine.manifest/v1"); embedded != (program == "engine") {
			t.Errorf("%s: the manifest is embedded: %v", program, embedded)
		}
	}
}

// TestRefuses: what is wrong is an error that says so, and no output appears.
func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	bad := writeFile(t, filepath.Join(dir, "v2.0.0/policy.yaml"), definitionSource)
	goodManifest := writeFile(t, filepath.Join(dir, "manifest.json"), `{"schema":"policyengine.manifest/v1","bundle":"b","go":"go1.26.8","policies":[],"modules":[]}`)
	out := filepath.Join(dir, "out")
	for want, args := range map[string][]string{
		"the first argument is one of":                                    nil,
		"one of validate, manifest, generate":                             {"bom"},
		"v2.0.0/policy.yaml:3:10: version: the directory is named v2.0.0": {"validate", "--definition", bad, "--out", out},
		"reading the definition":                                          {"validate", "--definition", dir + "/none", "--out", out},
		"flag provided but not defined":                                   {"validate", "--defnition", bad},
		`unexpected argument "x"`:                                         {"validate", "x"},
		"reading arguments":                                               {"@" + dir + "/none"},
		"reading a validated policy":                                      {"generate", "--policy", dir + "/none", "--out", out},
		"reading the linked packages":                                     {"manifest", "--packages", dir + "/none", "--out", out},
		"reading the manifest":                                            {"generate", "--manifest", dir + "/none", "--out", out},
		"reading the bundle's manifest":                                   {"generate", "--manifest", bad, "--out", out},
		"is not NAME=FILE":                                                {"provenance", "--source", "x", "--out", out},
		"reading the layout":                                              {"provenance", "--manifest", goodManifest, "--image", dir + "/none", "--out", out},
		"no program":                                                      {"generate", "--program", "other", "--out", out},
		"reading the binary":                                              {"image", "--binary", dir + "/none", "--out", out},
		"is not KEY=VALUE":                                                {"image", "--label", "x", "--out", out},
		"checking the binary: no Linux execut":                            {"image", "--binary", bad, "--out", out},
	} {
		if err := run(args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", args, err, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%q left a result behind", args)
		}
	}
}

func TestBundleConfig(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, version := range []string{"v2.0.0", "v1.0.0"} {
		yaml := writeFile(t, filepath.Join(dir, version, "policy.yaml"), strings.Replace(definitionSource, "v1.0.0", version, 1))
		out := filepath.Join(dir, version+".json")
		if err := run([]string{"validate", "--definition", yaml, "--out", out}, io.Discard); err != nil {
			t.Fatal(err)
		}
		files = append(files, out)
	}
	policies, err := readPolicies(files)
	if err != nil {
		t.Fatal(err)
	}
	config := bundleConfig("payments", policies, map[string]string{"org.opencontainers.image.title": "ours", "team": "x"})
	for label, want := range map[string]string{
		"dev.policyengine.bundle":        "payments",
		"dev.policyengine.policies":      "a@v1.0.0,a@v2.0.0",
		"org.opencontainers.image.title": "ours",
		"team":                           "x",
	} {
		if got := config.Labels[label]; got != want {
			t.Errorf("%s is %q, want %q", label, got, want)
		}
	}
	if strings.HasPrefix(config.User, "0") || config.User == "" {
		t.Errorf("the user is %q", config.User)
	}
}
