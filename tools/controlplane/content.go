package controlplane

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	discoveryv1 "policyengine.dev/proto/policyengine/discovery/v1"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/schema"
	"policyengine.dev/runtime/config/xds"
	"policyengine.dev/sdk/strictyaml"
)

// content is one configuration as it is served. It is immutable.
type content struct {
	// version is that of the revision.
	version string
	// resources are the values of the resources by type URL and name, versions a hash of
	// each, and types a hash of each type.
	resources map[string]map[string][]byte
	versions  map[string]map[string]string
	types     map[string]string
}

func newContent() *content { return &content{resources: map[string]map[string][]byte{}} }

func (c *content) add(url, name string, m proto.Message) error {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err
	}
	if c.resources[url] == nil {
		c.resources[url] = map[string][]byte{}
	}
	c.resources[url][name] = b
	return nil
}

// seal fills in the revision and the versions.
func (c *content) seal() error {
	digest := xds.Digest(c.resources)
	c.version = hex.EncodeToString(digest[:8])
	if err := c.add(xds.RevisionType, xds.RevisionName, &discoveryv1.Revision{Version: c.version, Digest: digest}); err != nil {
		return err
	}
	c.versions, c.types = map[string]map[string]string{}, map[string]string{}
	for _, url := range xds.Types() {
		c.versions[url] = map[string]string{}
		all := sha256.New()
		for _, name := range slices.Sorted(maps.Keys(c.resources[url])) {
			sum := sha256.Sum256(c.resources[url][name])
			c.versions[url][name] = hex.EncodeToString(sum[:8])
			fmt.Fprintf(all, "%q", name)
			all.Write(sum[:])
		}
		c.types[url] = hex.EncodeToString(all.Sum(nil)[:8])
	}
	return nil
}

// any is one resource.
func (c *content) any(url, name string) *anypb.Any {
	return &anypb.Any{TypeUrl: url, Value: c.resources[url][name]}
}

// load reads the configuration of one directory. The error has every problem with its file,
// line and column. What only an engine can tell is left to check.
func load(dir string) (*content, error) {
	if u := (config.FileSource{Path: dir}).Load(); u.Err != nil {
		return nil, u.Err
	}
	files, err := yamlFiles(dir)
	if err != nil {
		return nil, err
	}
	c := newContent()
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		root, err := strictyaml.ParseWithin(config.FileLimits, file, src)
		if err != nil {
			return nil, err
		}
		var all configv1.Configuration
		if err := schema.Decode(root, &all); err != nil {
			return nil, err
		}
		for _, one := range all.Chains {
			err = errors.Join(err, c.add(xds.ChainType, one.Name, one))
		}
		for _, one := range all.Routes {
			err = errors.Join(err, c.add(xds.RouteType, one.Name, one))
		}
		if all.Defaults != nil {
			err = errors.Join(err, c.add(xds.DefaultsType, xds.DefaultsName, all.Defaults))
		}
		if err != nil {
			return nil, err
		}
	}
	return c, c.seal()
}

func yamlFiles(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); e.Name()[0] != '.' && (ext == ".yaml" || ext == ".yml") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// clusterName is what a directory, and so a node's cluster, may be called.
var clusterName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// clusters are the clusters of a directory, with their directories. The empty name is the
// directory itself, if there are files in it.
func clusters(dir string) (map[string]string, error) {
	all := map[string]string{}
	files, err := yamlFiles(dir)
	if err != nil {
		return nil, err
	}
	if len(files) > 0 {
		all[""] = dir
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path) // a link may lead to a directory
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !info.IsDir() || e.Name()[0] == '.' {
			continue
		}
		if !clusterName.MatchString(e.Name()) {
			return nil, fmt.Errorf("%s: not a name of a cluster; write letters, digits, '.', '_', ':' and '-'", path)
		}
		all[e.Name()] = path
	}
	return all, nil
}
