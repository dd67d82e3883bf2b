package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"policyengine.dev/tools/builder/image"
)

var config = image.Config{
	Binary: "/opt/policy-engine",
	Args:   []string{"--config=/etc/engine.yaml"},
	User:   "65532:65532",
	Ports:  []string{"9001/tcp", "9002/tcp"},
	Labels: map[string]string{"b": "2", "a": "1"},
	Tag:    "latest",
}

// testBinary is an executable that fits an image: this test itself where it is
// static, else a program built for the purpose.
func testBinary(t *testing.T) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if image.Write(t.TempDir(), data, config) == nil {
		return data
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("go", "build", "-o", "main", "main.go")
	command.Dir = dir
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if data, err = os.ReadFile(filepath.Join(dir, "main")); err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, binary []byte, config image.Config) string {
	t.Helper()
	dir := t.TempDir()
	if err := image.Write(dir, binary, config); err != nil {
		t.Fatal(err)
	}
	return dir
}

// files are the contents of all files below a directory, by path.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !entry.Type().IsRegular() {
			t.Errorf("%s is not a regular file", path)
		}
		if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		data, err := os.ReadFile(path)
		relative, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(relative)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLayout: the directory is what registry clients take for an image: the
// three parts of a layout, one manifest, and each blob named by its digest.
func TestLayout(t *testing.T) {
	binary := testBinary(t)
	dir := write(t, binary, config)
	all := files(t, dir)
	if all["oci-layout"] == "" || all["index.json"] == "" || len(all) != 5 {
		t.Errorf("unexpected files: %d", len(all))
	}
	for name, data := range all {
		if digest, blob := strings.CutPrefix(name, "blobs/sha256/"); blob {
			if sum := sha256.Sum256([]byte(data)); hex.EncodeToString(sum[:]) != digest {
				t.Errorf("%s is not named by its digest", name)
			}
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if digest, err := image.Digest(dir); err != nil || digest != manifest.Manifests[0].Digest.Hex {
		t.Errorf("Digest = %s, %v", digest, err)
	}
	if _, err := image.Digest(t.TempDir()); err == nil {
		t.Error("a directory without a layout has a digest")
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "latest" {
		t.Fatalf("manifests: %v", manifest.Manifests)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(map[string]any{
		"user": file.Config.User, "entrypoint": file.Config.Entrypoint, "cmd": file.Config.Cmd, "labels": file.Config.Labels,
		"ports": file.Config.ExposedPorts, "os": file.OS, "created": file.Created,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"cmd":["--config=/etc/engine.yaml"],"created":"1970-01-01T00:00:00Z","entrypoint":["/opt/policy-engine"],"labels":{"a":"1","b":"2"},"os":"linux","ports":{"9001/tcp":{},"9002/tcp":{}},"user":"65532:65532"}`
	if string(got) != want {
		t.Errorf("config\n got %s\nwant %s", got, want)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Labels, m.Annotations); diff != "" {
		t.Errorf("annotations (-want +got)\n%s", diff)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	reader, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	checkLayer(t, reader, binary)
}

func checkLayer(t *testing.T, reader io.Reader, binary []byte) {
	t.Helper()
	type entry struct {
		Name     string
		Mode     int64
		UID, GID int
		Time     int64
	}
	var got []entry
	archive := tar.NewReader(reader)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entry{header.Name, header.Mode, header.Uid, header.Gid, header.ModTime.Unix()})
		if header.Typeflag == tar.TypeReg {
			if data, err := io.ReadAll(archive); err != nil || !bytes.Equal(data, binary) {
				t.Errorf("%s is not the binary: %v", header.Name, err)
			}
		}
	}
	if diff := cmp.Diff([]entry{{Name: "opt/", Mode: 0o755}, {Name: "opt/policy-engine", Mode: 0o755}}, got); diff != "" {
		t.Errorf("layer (-want +got)\n%s", diff)
	}
}

// TestReproducible: twice the same is the same bytes; anything else is not.
func TestReproducible(t *testing.T) {
	binary := testBinary(t)
	first := files(t, write(t, binary, config))
	if !cmp.Equal(first, files(t, write(t, binary, config))) {
		t.Error("two images of the same binary differ")
	}
	salted := config
	salted.Labels = map[string]string{"a": "1", "b": "3"}
	if cmp.Equal(first, files(t, write(t, binary, salted))) {
		t.Error("another label makes no difference")
	}
	if cmp.Equal(first, files(t, write(t, append(bytes.Clone(binary), 0), config))) {
		t.Error("another binary makes no difference")
	}
}

// TestRefuses: a binary that cannot run in the image never gets there.
func TestRefuses(t *testing.T) {
	program := testBinary(t)
	other := bytes.Clone(program)
	other[18], other[19] = 8, 0 // the machine: MIPS
	for want, data := range map[string][]byte{
		"no Linux executable": []byte("#!/bin/sh\n"),
		"built for EM_MIPS":   other,
	} {
		if err := image.Write(t.TempDir(), data, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	// A program that is linked with libraries names a loader: here, the last of its
	// program headers becomes one that does.
	dynamic, order := bytes.Clone(program), binary.LittleEndian
	headers, size := order.Uint64(dynamic[0x20:]), uint64(order.Uint16(dynamic[0x36:]))
	last := headers + size*uint64(order.Uint16(dynamic[0x38:])-1)
	order.PutUint32(dynamic[last:], uint32(elf.PT_INTERP))
	if err := image.Write(t.TempDir(), dynamic, config); err == nil || !strings.Contains(err.Error(), "dynamically linked") {
		t.Errorf("got %v, want that it is dynamically linked", err)
	}
}
