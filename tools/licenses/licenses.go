// Package licenses finds the licences of Go modules in the modules' own files.
//
// Bazel's rules see no file of a module but its Go sources, so the licences are found beforehand and kept in a table in the
// repository (licenses.json). A new licence is then a line in a review.
package licenses

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/google/licensecheck"
)

// A Module is a module with its licences.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	// Licenses are the SPDX identifiers of the licences that were found, sorted. All of them hold.
	Licenses []string `json:"licenses"`
	// Files are the files that the licences were found in, sorted by name.
	Files []File `json:"files"`
}

// A File is a file in the directory of a module.
type File struct {
	Name string `json:"name"`
	// SHA256 is the digest of the content, in hexadecimal digits.
	SHA256 string `json:"sha256"`
}

var name = regexp.MustCompile(`(?i)^(un)?(licen[sc]e|copying)s?([-._].*)?$`)

// covered is the share of a file, in percent, that the texts of known licences have to make up.
const covered = 75

// maxSize is how many bytes a licence file may have.
const maxSize = 1 << 20

// Find returns the licences in dir, the directory of a module. It is an error if there is no licence file, or if one has a
// text that is no known licence.
func Find(dir string) (licenses []string, files []File, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("finding licences: %w", err)
	}
	for _, entry := range entries {
		if !name.MatchString(entry.Name()) || !entry.Type().IsRegular() {
			continue
		}
		text, err := read(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, nil, fmt.Errorf("finding licences: %w", err)
		}
		found := licensecheck.Scan(text)
		if len(found.Match) == 0 || found.Percent < covered {
			return nil, nil, fmt.Errorf("finding licences: %s: %.0f%% of it is the text of known licences; at least %d%% are wanted", filepath.Join(dir, entry.Name()), found.Percent, covered)
		}
		for _, match := range found.Match {
			licenses = append(licenses, match.ID)
		}
		sum := sha256.Sum256(text)
		files = append(files, File{entry.Name(), hex.EncodeToString(sum[:])})
	}
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("finding licences: %s has no file LICENSE or COPYING", dir)
	}
	slices.Sort(licenses)
	return slices.Compact(licenses), files, nil
}

func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(text) > maxSize {
		err = fmt.Errorf("%s has more than %d bytes", file, maxSize)
	}
	return text, err
}

// Encode returns the table of modules, sorted by path and version.
func Encode(modules []Module) ([]byte, error) {
	modules = slices.Clone(modules)
	slices.SortFunc(modules, func(a, b Module) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Version, b.Version)) })
	text, err := json.MarshalIndent(modules, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding licences: %w", err)
	}
	return append(text, '\n'), nil
}

// A Table has the licences of modules.
type Table map[[2]string]Module

// Parse reads what Encode has written.
func Parse(text []byte) (Table, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var modules []Module
	if err := decoder.Decode(&modules); err != nil {
		return nil, fmt.Errorf("reading licences: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading licences: text follows the table")
	}
	table := Table{}
	for i, m := range modules {
		if m.Path == "" || m.Version == "" || len(m.Licenses) == 0 {
			return nil, fmt.Errorf("reading licences: element %d needs path, version and licenses", i)
		}
		table[[2]string{m.Path, m.Version}] = m
	}
	return table, nil
}

// Of returns the licences of a module's version; nil if the table has none.
func (t Table) Of(path, version string) []string { return t[[2]string{path, version}].Licenses }
