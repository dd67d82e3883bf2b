package config

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"path/filepath"
	"sync"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/config/schema"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/strictyaml"
)

// File is one file of chains and routes.
type File struct {
	// Name is used in messages only.
	Name string
	Src  []byte
}

// fileSum is a hash of a file's content.
type fileSum [sha256.Size]byte

// FileLimits bound one file. They fit a configuration of some ten thousand routes.
var FileLimits = strictyaml.Limits{Bytes: maxFile, Nodes: 1_000_000}

// document is what one file says. What it says never changes; it may be a part of
// several configurations, one after the other. Safe for concurrent use.
type document struct {
	name   string
	sum    fileSum
	chains []worker.ChainSpec
	routes []worker.RouteSpec
	// unknown is what the file says of unknown routes, where says is true.
	unknown     worker.UnknownRoute
	saysUnknown bool
	// found is what is wrong with the file by itself, and broken says that it is no
	// YAML at all.
	found  strictyaml.Diagnostics
	broken bool

	// tree leads to lines and columns. It takes many times the memory of what the
	// file says: it is made when a line is looked for, from src for as long as a
	// configuration is dealt with.
	mu   sync.Mutex
	tree *strictyaml.Node
	src  []byte
	// again reads the file once more; nil where there is none.
	again func() ([]byte, error)
}

// parse decodes one file.
func parse(f File, sum fileSum) *document {
	d := &document{name: f.Name, sum: sum, src: f.Src}
	root, err := strictyaml.ParseWithin(FileLimits, f.Name, f.Src)
	if err != nil {
		d.tree = &root
		d.found.AddError(root, err)
		d.broken = true
		return d
	}
	var content configv1.Configuration
	d.found.AddError(root, schema.Decode(root, &content))
	for _, c := range content.Chains {
		d.chains = append(d.chains, ChainSpec(c))
	}
	for _, r := range content.Routes {
		d.routes = append(d.routes, RouteSpec(r))
	}
	d.unknown = UnknownRoute(content.Defaults)
	d.saysUnknown = root.At("onUnknownRoute").Kind() != strictyaml.Missing
	return d
}

// root returns the file's tree, which it makes where there is none, from the file where its
// content was let go. Where the file is not what it was any more ok is false.
func (d *document) root() (root strictyaml.Node, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tree == nil {
		src := d.src
		if src == nil {
			if d.again == nil {
				return strictyaml.Node{}, false
			}
			var err error
			if src, err = d.again(); err != nil || sha256.Sum256(src) != d.sum {
				return strictyaml.Node{}, false
			}
		}
		root, err := strictyaml.ParseWithin(FileLimits, d.name, src)
		if err != nil {
			return strictyaml.Node{}, false
		}
		d.tree = &root
	}
	return *d.tree, true
}

// letGo frees the file's tree and its content.
func (d *document) letGo() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.again != nil {
		d.tree, d.src = nil, nil
	}
}

// position is where a path of the file stands.
func (d *document) position(path string) worker.Position {
	root, ok := d.root()
	if !ok {
		return worker.Position{Source: d.name, Field: path}
	}
	at := root.AtPath(path).Problem("", "")
	return worker.Position{Source: at.File, Line: at.Line, Column: at.Column, Field: at.Path}
}

// version names the content of files: a prefix of a hash over names and contents,
// without the directory, so that the same files have the same version everywhere.
func version(documents []*document) string {
	h := sha256.New()
	for _, d := range documents {
		name := filepath.Base(d.name)
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(name)))
		h.Write(n[:])
		h.Write([]byte(name))
		h.Write(d.sum[:])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))[:16]
}
