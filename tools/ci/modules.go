package ci

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"

	"policyengine.dev/runtime/bundle"
)

const modulesOf = "//bundles:payments"

// sameModules compares the modules in a bundle's manifest and bill of materials with those that Go itself lists for a plain
// build of the same program.
func (r Repository) sameModules(ctx context.Context) Outcome {
	targets := []string{modulesOf + "_registry", modulesOf + "_manifest", modulesOf + "_sbom"}
	if err := r.run(ctx, r.Root, r.Out, "./bazelw", append([]string{"build"}, targets...)...); err != nil {
		return failed("building %v: %v", targets, err)
	}
	var out bytes.Buffer
	if err := r.run(ctx, r.Root, &out, "./bazelw", "cquery", "--output=files", strings.Join(targets, " + ")); err != nil {
		return failed("asking where %v are: %v", targets, err)
	}
	files := map[string]string{}
	for _, file := range strings.Fields(out.String()) {
		files[filepath.Base(file)] = filepath.Join(r.Root, file)
	}
	want, err := r.goModules(ctx, files["payments_registry.go"])
	if err != nil {
		return failed("%v", err)
	}
	inManifest, err := manifestModules(files["payments_manifest.json"])
	if err != nil {
		return failed("%v", err)
	}
	inBill, err := billModules(files["payments_sbom.cdx.json"])
	if err != nil {
		return failed("%v", err)
	}
	return compareModules("the manifest", want, inManifest).Plus(compareModules("the bill of materials", want, inBill))
}

// compareModules compares two lists of modules, as versions by path.
func compareModules(where string, want, got map[string]string) Outcome {
	var o Outcome
	if len(want) < 10 {
		o = o.Plus(failed("Go lists only %d modules", len(want)))
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			o = o.Plus(failed("%s has %s in version %q, Go links %q", where, path, got[path], want[path]))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[path]; !ok {
			o = o.Plus(failed("%s has %s, which Go does not link", where, path))
		}
	}
	if o.Failed > 0 {
		return o
	}
	return passed
}

// goModules builds a generated main package as one of the repository, and returns the modules that Go writes into the binary.
func (r Repository) goModules(ctx context.Context, main string) (map[string]string, error) {
	if main == "" {
		return nil, fmt.Errorf("Bazel has written no main package of %s", modulesOf)
	}
	overlay, binary := filepath.Join(r.Temp, "modules.json"), filepath.Join(r.Temp, "modules")
	virtual := filepath.Join(r.Root, "tools", "ci", "generated")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(virtual, "main.go"): main}})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return nil, err
	}
	defer os.Remove(binary)
	build := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-buildvcs=false", "-o", binary, virtual)
	build.Dir, build.Stdout, build.Stderr = r.Root, r.Out, r.Out
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("building %s with Go: %w", modulesOf, err)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("reading the modules of %s: %w", binary, err)
	}
	found := map[string]string{info.Main.Path: info.Main.Version}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		found[m.Path] = m.Version
	}
	return found, nil
}

func manifestModules(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m, err := bundle.Parse(text)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, module := range m.Modules {
		found[module.Path] = module.Version
	}
	return found, nil
}

// billModules are the components of a bill in CycloneDX but for the standard library, which is no module.
func billModules(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(f, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	found := map[string]string{}
	if bom.Components != nil {
		for _, c := range *bom.Components {
			if c.Name != "stdlib" {
				found[c.Name] = c.Version
			}
		}
	}
	return found, nil
}
