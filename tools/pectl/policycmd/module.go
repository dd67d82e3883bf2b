package policycmd

import (
	"errors"
	"fmt"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/strictyaml"
)

// definitionFile makes a directory a policy version.
const definitionFile = "policy.yaml"

// module is a Go module on disk.
type module struct{ root, path string }

// locate finds the directory of policies and the module that it is in. dir is where
// the user says that it is, or empty.
func locate(dir string) (m module, policies string, err error) {
	start := dir
	if dir == "" {
		start = "."
	}
	start, err = filepath.Abs(start)
	if err != nil {
		return m, "", err
	}
	// The directory itself need not be there yet.
	m.root = start
	for {
		var text []byte
		text, err = os.ReadFile(filepath.Join(m.root, "go.mod"))
		if err == nil {
			m.path = modfile.ModulePath(text)
			break
		}
		if parent := filepath.Dir(m.root); errors.Is(err, fs.ErrNotExist) && parent != m.root {
			m.root = parent
			continue
		}
		return m, "", fmt.Errorf("there is no go.mod in %s or above it: a policy is a Go package; make a module with `go mod init`", start)
	}
	if m.path == "" {
		return m, "", fmt.Errorf("%s names no module", filepath.Join(m.root, "go.mod"))
	}
	if dir == "" {
		return m, filepath.Join(m.root, "policies"), nil
	}
	return m, start, nil
}

// importPath is that of the package in dir.
func (m module) importPath(dir string) (string, error) {
	relative, err := filepath.Rel(m.root, dir)
	if err != nil || strings.HasPrefix(relative, "..") {
		return "", fmt.Errorf("%s is not inside the module in %s", dir, m.root)
	}
	return path.Join(m.path, filepath.ToSlash(relative)), nil
}

// derive makes the names in Go from the policy's, and refuses what could not be a
// policy.
func (p *newPolicy) derive() error {
	minimal := fmt.Sprintf("apiVersion: policyengine/v1\nname: %q\nversion: %q\ndescription: x\nphases: [request_headers]\n", p.Name, p.Version)
	if _, err := definition.Parse("", []byte(minimal)); err != nil {
		var found strictyaml.Diagnostics
		errors.As(err, &found)
		for i := range found {
			found[i].Line = 0 // of a file that nobody sees
		}
		return fmt.Errorf("%s %s cannot be a policy: %w", p.Name, p.Version, err)
	}
	for word := range strings.SplitSeq(p.Name, "-") {
		p.Package += word
		p.Type += strings.ToUpper(word[:1]) + word[1:]
	}
	if !token.IsIdentifier(p.Package) || slices.Contains([]string{"Policy", "Params", "New", "ReasonMissing"}, p.Type) {
		return fmt.Errorf("%q cannot be the name of a policy: its Go package would be %q and its type %q, which Go or the scaffold already uses; choose another name", p.Name, p.Package, p.Type)
	}
	return nil
}
