// Package provenance states what an image was built from, as an in-toto statement with a SLSA provenance predicate.
package provenance

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/runtime/bundle"
)

const (
	// PredicateType is that of SLSA's provenance, version 1.
	PredicateType = "https://slsa.dev/provenance/v1"
	// BuildType names the rule, and with it the meaning of the parameters.
	BuildType = "https://policyengine.dev/policy_engine_bundle/v1"
)

// A Build is what is stated.
type Build struct {
	// Image is the digest of the image's manifest in hexadecimal digits; it is the subject.
	Image string
	// Manifest is the bundle's.
	Manifest *bundle.Manifest
	// Builder identifies who built: a URI.
	Builder string
	// Sources are files that were compiled, by the path that the statement has.
	Sources []Source
	// Sums are the checksums in go.sum, as ReadSums returns them.
	Sums map[bundle.Module]string
}

// A Source is a file with its SHA-256 digest in hexadecimal digits.
type Source struct{ Name, SHA256 string }

// ReadSource reads and digests a file.
func ReadSource(name, file string) (Source, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return Source{}, fmt.Errorf("reading a source: %w", err)
	}
	sum := sha256.Sum256(content)
	return Source{name, hex.EncodeToString(sum[:])}, nil
}

// ReadSums reads a go.sum, and returns the digests of the modules' content in hexadecimal digits.
func ReadSums(text []byte) (map[bundle.Module]string, error) {
	sums := map[bundle.Module]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || len(fields) == 3 && strings.HasSuffix(fields[1], "/go.mod") {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("reading go.sum: line %d: want a module, a version and a checksum", n)
		}
		encoded, ok := strings.CutPrefix(fields[2], "h1:")
		digest, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(digest) != sha256.Size {
			return nil, fmt.Errorf("reading go.sum: line %d: the checksum of %s is not h1: and the base64 text of a SHA-256 digest", n, fields[0])
		}
		sums[bundle.Module{Path: fields[0], Version: fields[1]}] = hex.EncodeToString(digest)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading go.sum: %w", err)
	}
	return sums, nil
}

// Statement returns the statement in JSON. Equal input gives equal bytes: it has no times in it. It is an error if go.sum
// lacks a module.
func Statement(b Build) ([]byte, error) {
	policies := []any{}
	for _, p := range b.Manifest.Policies {
		policies = append(policies, p.Name+"@"+p.Version)
	}
	external, err := structpb.NewStruct(map[string]any{"bundle": b.Manifest.Bundle, "policies": policies})
	if err != nil {
		return nil, fmt.Errorf("stating the provenance: %w", err)
	}
	dependencies, err := b.dependencies()
	if err != nil {
		return nil, fmt.Errorf("stating the provenance:\n%w", err)
	}
	predicate := &slsa.Provenance{
		BuildDefinition: &slsa.BuildDefinition{BuildType: BuildType, ExternalParameters: external, ResolvedDependencies: dependencies},
		RunDetails:      &slsa.RunDetails{Builder: &slsa.Builder{Id: b.Builder, Version: map[string]string{"go": b.Manifest.Go}}},
	}
	if err := predicate.Validate(); err != nil {
		return nil, fmt.Errorf("checking the provenance: %w", err)
	}
	text, err := protojson.Marshal(predicate)
	if err != nil {
		return nil, fmt.Errorf("encoding the provenance: %w", err)
	}
	fields := &structpb.Struct{}
	if err := protojson.Unmarshal(text, fields); err != nil {
		return nil, fmt.Errorf("encoding the provenance: %w", err)
	}
	statement := &intoto.Statement{
		Type:          intoto.StatementTypeUri,
		Subject:       []*intoto.ResourceDescriptor{{Name: b.Manifest.Bundle, Digest: map[string]string{"sha256": b.Image}}},
		PredicateType: PredicateType,
		Predicate:     fields,
	}
	if err := statement.Validate(); err != nil {
		return nil, fmt.Errorf("checking the statement: %w", err)
	}
	if text, err = protojson.Marshal(statement); err != nil {
		return nil, fmt.Errorf("encoding the statement: %w", err)
	}
	// protojson varies its white space on purpose.
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, fmt.Errorf("encoding the statement: %w", err)
	}
	if text, err = json.MarshalIndent(value, "", "  "); err != nil {
		return nil, fmt.Errorf("encoding the statement: %w", err)
	}
	return append(text, '\n'), nil
}

func (b Build) dependencies() ([]*intoto.ResourceDescriptor, error) {
	var all []*intoto.ResourceDescriptor
	var missing []string
	for _, s := range b.Sources {
		all = append(all, &intoto.ResourceDescriptor{Name: s.Name, Digest: map[string]string{"sha256": s.SHA256}})
	}
	for _, m := range b.Manifest.Modules {
		if m.Version == bundle.Devel {
			continue // its sources are among the files
		}
		sum, ok := b.Sums[m]
		if !ok {
			missing = append(missing, fmt.Sprintf("go.sum has no checksum of %s %s; run go mod tidy", m.Path, m.Version))
			continue
		}
		all = append(all, &intoto.ResourceDescriptor{
			Uri:    "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B"),
			Digest: map[string]string{"dirHash": sum},
		})
	}
	if missing != nil {
		return nil, fmt.Errorf("%s", strings.Join(missing, "\n"))
	}
	return all, nil
}
