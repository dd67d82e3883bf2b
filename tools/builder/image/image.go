// Package image writes a container image as an OCI image layout (version 1 of
// the specification): a directory that registry clients can push as it is.
package image

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Config describes an image of one static binary.
type Config struct {
	// Binary is the path at which the binary stands in the image, absolute.
	Binary string
	// Args follow the binary where a container is given none of its own.
	Args []string
	// User is uid:gid, in numbers, since the image has no list of users.
	User string
	// Ports are exposed, such as 9001/tcp.
	Ports []string
	// Labels are the image's labels and, the same, the manifest's annotations.
	Labels map[string]string
	// Tag is the layout's name for the image.
	Tag string
}

// Write writes the image of a binary, given as its bytes, to the directory
// dir, which may exist if it is empty. The same input gives the same bytes,
// whenever and wherever: files are dated 1970 and owned by root.
//
// It refuses what is no statically linked Linux executable: there is nothing
// else in the image that could load it.
func Write(dir string, binary []byte, config Config) error {
	platform, err := inspect(binary)
	if err != nil {
		return fmt.Errorf("checking the binary: %w", err)
	}
	layer, err := binaryLayer(config.Binary, binary)
	if err != nil {
		return fmt.Errorf("packing the binary: %w", err)
	}
	image, err := assemble(layer, platform, config)
	if err != nil {
		return fmt.Errorf("assembling the image: %w", err)
	}
	if err := writeLayout(dir, image, platform, config.Tag); err != nil {
		return fmt.Errorf("writing the layout: %w", err)
	}
	return nil
}

// writeLayout writes files that everybody may read, whatever the umask.
func writeLayout(dir string, image v1.Image, platform v1.Platform, tag string) error {
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := l.WriteImage(image); err != nil {
		return err
	}
	descriptor, err := partial.Descriptor(image)
	if err != nil {
		return err
	}
	err = l.AppendDescriptor(v1.Descriptor{
		MediaType:   descriptor.MediaType,
		Size:        descriptor.Size,
		Digest:      descriptor.Digest,
		Platform:    &platform,
		Annotations: map[string]string{"org.opencontainers.image.ref.name": tag},
	})
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return os.Chmod(path, 0o644)
	})
}

func assemble(layer v1.Layer, platform v1.Platform, config Config) (v1.Image, error) {
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{
		Created:   v1.Time{Time: time.Unix(0, 0).UTC()},
		CreatedBy: "policy_engine_bundle",
		Comment:   "one static binary",
	}})
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	file.OS, file.Architecture, file.Variant = platform.OS, platform.Architecture, platform.Variant
	file.Config = v1.Config{
		User:         config.User,
		Entrypoint:   []string{config.Binary},
		Cmd:          config.Args,
		WorkingDir:   "/",
		Labels:       config.Labels,
		ExposedPorts: map[string]struct{}{},
	}
	for _, port := range config.Ports {
		file.Config.ExposedPorts[port] = struct{}{}
	}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(image, config.Labels).(v1.Image)
	if !ok {
		return nil, errors.New("annotating gave no image")
	}
	return annotated, nil
}

// binaryLayer packs one executable and the directories that lead to it.
func binaryLayer(name string, binary []byte) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	name = strings.TrimPrefix(path.Clean(name), "/")
	for i, c := range name {
		if c == '/' {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name[:i+1], Mode: 0o755, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}); err != nil {
				return nil, err
			}
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(binary)), Mode: 0o755, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}); err != nil {
		return nil, err
	}
	if _, err := w.Write(binary); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}

// machines are the architectures' names in images.
var machines = map[elf.Machine]v1.Platform{
	elf.EM_X86_64:  {OS: "linux", Architecture: "amd64"},
	elf.EM_AARCH64: {OS: "linux", Architecture: "arm64", Variant: "v8"},
}

func inspect(binary []byte) (v1.Platform, error) {
	file, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return v1.Platform{}, fmt.Errorf("no Linux executable; build for Linux, such as with --platforms=@rules_go//go/toolchain:linux_amd64: %w", err)
	}
	defer func() { _ = file.Close() }()
	platform, known := machines[file.Machine]
	if !known {
		return v1.Platform{}, fmt.Errorf("built for %s; amd64 and arm64 are known", file.Machine)
	}
	if slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return v1.Platform{}, errors.New("dynamically linked, and the image holds no libraries; build it without cgo")
	}
	return platform, nil
}

// Digest returns the digest of the one manifest in a layout, in hexadecimal digits.
func Digest(dir string) (string, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return "", fmt.Errorf("reading the layout: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return "", fmt.Errorf("reading the layout: %w", err)
	}
	if len(manifest.Manifests) != 1 {
		return "", fmt.Errorf("reading the layout: %s has %d manifests; want one", dir, len(manifest.Manifests))
	}
	return manifest.Manifests[0].Digest.Hex, nil
}
