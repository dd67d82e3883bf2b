package xds

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// A kept file has three parts: a line with its format and a checksum of the rest, a line
// of JSON that describes it, and the resources as a DiscoveryResponse.
const (
	keptMagic  = "policy-engine-kept "
	keptFormat = 1
	// maxKept bounds a kept file, in bytes.
	maxKept = 256 << 20
)

// keptHeader describes a kept file.
type keptHeader struct {
	Version string    `json:"version"`
	Saved   time.Time `json:"saved"`
	// Node and Cluster are the node's, for which the configuration was made.
	Node    string   `json:"node"`
	Cluster string   `json:"cluster"`
	Deny    []string `json:"deny,omitempty"`
}

// keeper stores the last good configuration.
type keeper struct {
	path          string
	maxAge        time.Duration
	node, cluster string
}

// encodeKept is the content of a kept file.
func encodeKept(p plan, h keptHeader) ([]byte, error) {
	h.Deny = slices.Sorted(maps.Keys(p.deny))
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(h); err != nil { // ends in a newline
		return nil, err
	}
	var all discoveryv3.DiscoveryResponse
	for k, resources := range p.set {
		for _, name := range slices.Sorted(maps.Keys(resources)) {
			all.Resources = append(all.Resources, &anypb.Any{TypeUrl: urls[k], Value: resources[name].value})
		}
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&all)
	if err != nil {
		return nil, err
	}
	body.Write(b)
	sum := sha256.Sum256(body.Bytes())
	return append(fmt.Appendf(nil, "%s%d %s\n", keptMagic, keptFormat, hex.EncodeToString(sum[:])), body.Bytes()...), nil
}

var errNotKept = errors.New("it is no kept configuration")

// decodeKept reads the content of a kept file. Whatever is wrong with it, no part of it is
// returned.
func decodeKept(b []byte) (p plan, h keptHeader, err error) {
	first, body, found := bytes.Cut(b, []byte("\n"))
	rest, magic := bytes.CutPrefix(first, []byte(keptMagic))
	format, sum, spaced := bytes.Cut(rest, []byte(" "))
	number, err := strconv.Atoi(string(format))
	switch {
	case !found || !magic || !spaced || err != nil:
		return plan{}, h, errNotKept
	case number != keptFormat:
		return plan{}, h, fmt.Errorf("it has format %d, and this engine reads format %d", number, keptFormat)
	}
	if own := sha256.Sum256(body); hex.EncodeToString(own[:]) != string(sum) {
		return plan{}, h, errors.New("its checksum is not that of its content: it was cut or changed")
	}
	header, content, _ := bytes.Cut(body, []byte("\n"))
	if err := json.Unmarshal(header, &h); err != nil {
		return plan{}, h, fmt.Errorf("reading its description: %w", err)
	}
	var all discoveryv3.DiscoveryResponse
	if err := proto.Unmarshal(content, &all); err != nil {
		return plan{}, h, fmt.Errorf("reading its resources: %w", err)
	}
	p = plan{set: newSet(), deny: map[string]bool{}}
	for _, content := range all.Resources {
		k, ok := kindOf(content.GetTypeUrl())
		if !ok || k == revision {
			return plan{}, h, fmt.Errorf("it has a resource of the type %.200q", content.GetTypeUrl())
		}
		r, err := newResource(k, "", "", content)
		if err != nil {
			return plan{}, h, err
		}
		if len(r.problems) > 0 {
			return plan{}, h, r.diagnostics()
		}
		p.set[k][r.name] = r
	}
	for _, name := range h.Deny {
		p.deny[name] = true
	}
	return p, h, nil
}

// load returns the kept configuration. ok is false if there is none; the error says why it
// cannot be used.
func (k keeper) load(now time.Time) (p plan, h keptHeader, ok bool, err error) {
	fail := func(err error) (plan, keptHeader, bool, error) {
		return plan{}, keptHeader{}, false, fmt.Errorf("the kept configuration %s cannot be used: %w", k.path, err)
	}
	f, err := os.Open(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return plan{}, keptHeader{}, false, nil
	}
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o022 != 0 {
		return fail(fmt.Errorf("its mode is %v; it has to be a file that only its owner can write to (0600)", mode))
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKept+1))
	if err != nil {
		return fail(err)
	}
	if len(b) > maxKept {
		return fail(fmt.Errorf("it is larger than %d bytes", maxKept))
	}
	p, h, err = decodeKept(b)
	if err != nil {
		return fail(err)
	}
	if h.Cluster != k.cluster || h.Node != k.node {
		return fail(fmt.Errorf("it is of node %.200q in cluster %.200q, and this one is %q in %q", h.Node, h.Cluster, k.node, k.cluster))
	}
	if age := now.Sub(h.Saved); age > k.maxAge {
		return fail(fmt.Errorf("it is %s old, and source.xds.keepMaxAge is %s", age.Round(time.Second), k.maxAge))
	}
	return p, h, true, nil
}

// save stores a configuration in place of the one before.
func (k keeper) save(p plan, version string, now time.Time) error {
	b, err := encodeKept(p, keptHeader{Version: version, Saved: now.UTC(), Node: k.node, Cluster: k.cluster})
	if err == nil {
		err = writeAtomically(k.path, b)
	}
	if err != nil {
		return fmt.Errorf("storing the last good configuration: %w", err)
	}
	return nil
}

// writeAtomically puts a file in place whole, or leaves the one that is there.
func writeAtomically(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil // the file is in place
	}
	defer d.Close()
	_ = d.Sync() // not every file system can
	return nil
}
