// Package bundle describes what a binary was built from: its manifest.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Schema is the value of Manifest.Schema that this package reads and writes. A later format that a reader of this one
// cannot read has another value.
const Schema = "policyengine.manifest/v1"

// MaxSize is how many bytes a manifest may have.
const MaxSize = 1 << 20

// A Manifest describes one bundle. docs/reference/manifest.schema.json is its JSON Schema. The zero value is not valid.
// A Manifest is safe for concurrent use as long as nobody changes it.
type Manifest struct {
	// Schema is always [Schema], and always the first field of the JSON text.
	Schema string `json:"schema"`
	// Bundle is the name of the policy_engine_bundle.
	Bundle string `json:"bundle"`
	// Go is the version of Go that the binary was built with, such as go1.26.8.
	Go string `json:"go"`
	// Policies are sorted by name and version. There may be none.
	Policies []Policy `json:"policies"`
	// Modules are the Go modules of which at least one package is linked, sorted by path.
	Modules []Module `json:"modules"`
	// Packages are the import paths of the linked packages that are in no versioned module, sorted: those of the
	// repository that the bundle is in, if it is not the engine's own.
	Packages []string `json:"packages,omitempty"`
}

// A Policy is one policy version.
type Policy struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// ImportPath is that of the policy's Go package.
	ImportPath string `json:"importPath"`
	// Definition is the SHA-256 digest of the normalised definition, as [Digest] gives it.
	Definition string `json:"definition"`
}

// A Module is one Go module.
type Module struct {
	Path string `json:"path"`
	// Version is the module's version, or [Devel] for the module that the binary was built in.
	Version string `json:"version"`
}

// Devel is the version that Go gives to a module that is built from a checkout.
const Devel = "(devel)"

// Digest returns the SHA-256 digest of data as sha256:HEX.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Encode returns the manifest as one line of JSON without a line feed. Equal manifests have equal texts.
func (m *Manifest) Encode() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(m); err != nil {
		return nil, fmt.Errorf("encoding the manifest: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Parse reads a manifest. The error names everything that is wrong with the manifest.
func Parse(text []byte) (*Manifest, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("reading the bundle's manifest: it has %d bytes; at most %d are read", len(text), MaxSize)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var m Manifest
	if err := decoder.Decode(&m); err != nil {
		return nil, fmt.Errorf("reading the bundle's manifest: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading the bundle's manifest: text follows the JSON object; remove it")
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("reading the bundle's manifest:\n%w", err)
	}
	return &m, nil
}

var (
	digest  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	version = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+[-+.0-9A-Za-z]*$`)
	golang  = regexp.MustCompile(`^go[0-9]+\.[0-9]+[.0-9A-Za-z]*$`)
)

// Check returns all problems of the manifest, one a line, or nil.
func (m *Manifest) Check() error {
	var problems []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	require(m.Schema == Schema, "schema: %q is not known; this program reads %q", m.Schema, Schema)
	require(m.Bundle != "", "bundle: missing; write the bundle's name")
	require(golang.MatchString(m.Go), "go: %q is no version of Go, such as go1.26.8", m.Go)
	seen := map[string]bool{}
	for i, p := range m.Policies {
		at := fmt.Sprintf("policies[%d]", i)
		require(p.Name != "", "%s.name: missing", at)
		require(version.MatchString(p.Version), "%s.version: %q is no version, such as v1.0.0", at, p.Version)
		require(p.ImportPath != "", "%s.importPath: missing", at)
		require(digest.MatchString(p.Definition), "%s.definition: %q is no digest; write sha256: and 64 hexadecimal digits", at, p.Definition)
		key := p.Name + "@" + p.Version
		require(!seen[key], "%s: %s is listed twice; list each version once", at, key)
		seen[key] = true
	}
	paths := map[string]bool{}
	for i, module := range m.Modules {
		at := fmt.Sprintf("modules[%d]", i)
		require(module.Path != "" && !strings.ContainsAny(module.Path, " \t\n"), "%s.path: %q is no module path", at, module.Path)
		require(module.Version == Devel || version.MatchString(module.Version), "%s.version: %q is no version, such as v1.0.0 or %s", at, module.Version, Devel)
		require(!paths[module.Path], "%s: %s is listed twice; a binary has one version of a module", at, module.Path)
		paths[module.Path] = true
	}
	return errors.Join(problems...)
}
