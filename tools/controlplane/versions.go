package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	// versionsDir is the directory, in a cluster's own, that has the versions that were
	// served. Engines' sources and the control plane pass over names that begin with a dot.
	versionsDir = ".versions"
	// maxVersions is how many versions of a cluster are kept.
	maxVersions = 50
	// maxStored bounds what is read of a stored version, in bytes.
	maxStored = 64 << 20
)

var versionName = regexp.MustCompile(`^[0-9a-f]{16}$`)

// Errors of changes, which tell an HTTP client whose fault it is.
var (
	// ErrUnknown is for a cluster, a version or a resource that there is not.
	ErrUnknown = errors.New("unknown")
	// ErrConflict is for a change of something that is not what the caller has seen.
	ErrConflict = errors.New("conflict")
	// ErrInvalid is for a configuration that would not be served.
	ErrInvalid = errors.New("invalid")
)

// remember stores the files of a directory as a version, and drops the oldest.
func remember(dir, version string) error {
	files, err := yamlFiles(dir)
	if err != nil {
		return err
	}
	all := map[string]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		all[filepath.Base(file)] = string(b)
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	store := filepath.Join(dir, versionsDir)
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	// A version that is served again is the newest.
	if err := put(filepath.Join(store, version), b); err != nil {
		return err
	}
	known, err := versions(dir)
	if err != nil {
		return err
	}
	for _, old := range known[min(len(known), maxVersions):] {
		err = errors.Join(err, os.Remove(filepath.Join(store, old)))
	}
	return err
}

// versions are those that are stored, newest first.
func versions(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, versionsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var infos []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && versionName.MatchString(e.Name()) {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	var names []string
	for _, info := range infos {
		names = append(names, info.Name())
	}
	return names, nil
}

// put writes a file that appears as a whole.
func put(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// directory is that of a cluster which is there.
func (p *Plane) directory(cluster string) (string, error) {
	all, err := clusters(p.options.Dir)
	if err != nil {
		return "", err
	}
	dir, ok := all[cluster]
	if !ok {
		return "", fmt.Errorf("%w: no cluster is called %.200q", ErrUnknown, cluster)
	}
	return dir, nil
}

// Versions are the versions of a cluster that can be served again, newest first.
func (p *Plane) Versions(cluster string) ([]string, error) {
	p.changing.Lock()
	defer p.changing.Unlock()
	dir, err := p.directory(cluster)
	if err != nil {
		return nil, err
	}
	return versions(dir)
}

// Rollback puts the files of a stored version back in place, and serves them. Files that
// the version did not have are removed.
func (p *Plane) Rollback(ctx context.Context, cluster, version string) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	dir, err := p.directory(cluster)
	if err != nil {
		return err
	}
	if !versionName.MatchString(version) {
		return fmt.Errorf("%w: %.200q is no version; write one of 16 hexadecimal digits", ErrUnknown, version)
	}
	stored := filepath.Join(dir, versionsDir, version)
	info, err := os.Stat(stored)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: version %s is not kept; the last %d are", ErrUnknown, version, maxVersions)
	}
	if err != nil {
		return err
	}
	if info.Size() > maxStored {
		return fmt.Errorf("%s is larger than %d bytes", stored, maxStored)
	}
	b, err := os.ReadFile(stored)
	if err != nil {
		return err
	}
	var files map[string]string
	if err := json.Unmarshal(b, &files); err != nil {
		return fmt.Errorf("reading %s: %w", stored, err)
	}
	return p.replace(ctx, cluster, dir, files)
}

// replace checks files in a directory of their own, puts them in place of those of a
// cluster, and serves them. Nothing has changed if the error is ErrInvalid.
func (p *Plane) replace(ctx context.Context, cluster, dir string, files map[string]string) error {
	scratch, err := os.MkdirTemp("", "control-plane-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	for name, text := range files {
		if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
			return fmt.Errorf("%w: %.200q is no name of a file", ErrInvalid, name)
		}
		if err := os.WriteFile(filepath.Join(scratch, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if _, err := load(scratch); err != nil {
		return fmt.Errorf("%w: %s", ErrInvalid, strings.ReplaceAll(err.Error(), scratch+"/", ""))
	}
	if err := p.check(ctx, scratch); err != nil {
		return fmt.Errorf("%w: %s", ErrInvalid, strings.ReplaceAll(err.Error(), scratch+"/", ""))
	}
	before, err := yamlFiles(dir)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := put(filepath.Join(dir, name), []byte(text)); err != nil {
			return err
		}
	}
	for _, file := range before {
		if _, stays := files[filepath.Base(file)]; !stays {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	p.reload(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if problem := p.problems[cluster]; problem != "" {
		return fmt.Errorf("%w: %s", ErrInvalid, problem)
	}
	return nil
}
