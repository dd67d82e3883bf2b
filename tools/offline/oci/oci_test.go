package oci_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"policyengine.dev/tools/offline/oci"
)

// image writes a layout with one random image below dir and returns its digest.
func image(t *testing.T, dir string) string {
	t.Helper()
	img, err := random.Image(64, 2)
	if err != nil {
		t.Fatal(err)
	}
	l, err := layout.Write(filepath.Join(dir, "image"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPush(t *testing.T) {
	tests := []struct {
		name  string
		push  oci.Push
		files map[string]string
		args  []string
		fail  string // the subcommand that fails
		want  []string
		err   string
	}{
		{
			name: "the attributes hold where no flag is given",
			push: oci.Push{Repository: "r.example/a", TagsFile: "tags"}, files: map[string]string{"tags": "one\n\ntwo\n"},
			want: []string{"push IMAGE r.example/a@DIGEST", "tag r.example/a@DIGEST one", "tag r.example/a@DIGEST two"},
		},
		{
			name: "flags override the repository and add tags, in all their spellings",
			push: oci.Push{Repository: "r.example/a", TagsFile: "tags"}, files: map[string]string{"tags": "one"},
			args: []string{"--repository", "r.example/b", "-t", "x", "--tag=y"},
			want: []string{"push IMAGE r.example/b@DIGEST", "tag r.example/b@DIGEST x", "tag r.example/b@DIGEST y", "tag r.example/b@DIGEST one"},
		},
		{
			name: "the repository may stand in a file",
			push: oci.Push{RepositoryFile: "repo"}, files: map[string]string{"repo": "r.example/c\n"},
			want: []string{"push IMAGE r.example/c@DIGEST"},
		},
		{
			name: "other flags are crane's",
			push: oci.Push{Repository: "r.example/a"}, args: []string{"--insecure"},
			want: []string{"push IMAGE r.example/a@DIGEST --insecure"},
		},
		{
			name: "no tag is given to what could not be pushed",
			push: oci.Push{Repository: "r.example/a"}, args: []string{"-t", "x"}, fail: "push",
			want: []string{"push IMAGE r.example/a@DIGEST"}, err: "pushing r.example/a",
		},
		{name: "no repository is an error", err: "no repository"},
		{name: "a flag without its value is an error", args: []string{"-r"}, err: "-r requires a value"},
		{name: "an empty value is an error", args: []string{"--tag="}, err: "--tag requires a value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			digest := image(t, dir)
			for name, text := range tt.files {
				write(t, dir, name, text)
			}
			var ran []string
			run := func(_ context.Context, _ io.Reader, program string, args ...string) error {
				if program != filepath.Join(dir, "crane") {
					t.Errorf("ran %s", program)
				}
				line := strings.Join(args, " ")
				ran = append(ran, strings.NewReplacer(filepath.Join(dir, "image"), "IMAGE", digest, "DIGEST").Replace(line))
				if args[0] == tt.fail {
					return errors.New("refused")
				}
				return nil
			}
			tt.push.Crane, tt.push.Image = "crane", "image"
			err := oci.Orders{Push: &tt.push}.Run(t.Context(), dir, tt.args, run)
			if (tt.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("err = %v, want %q", err, tt.err)
			}
			if !slices.Equal(ran, tt.want) {
				t.Errorf("ran %q, want %q", ran, tt.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	image(t, dir)
	write(t, dir, "tags.txt", "example/app:v1\n")
	var got []byte
	run := func(_ context.Context, stdin io.Reader, program string, args ...string) error {
		if program != filepath.Join(dir, "engine") || !slices.Equal(args, []string{"load", "--quiet"}) {
			t.Errorf("ran %s %q", program, args)
		}
		var err error
		got, err = io.ReadAll(stdin)
		return err
	}
	orders := oci.Orders{Load: &oci.Load{Image: "image", TagsFile: "tags.txt", Loader: "engine"}}
	if err := orders.Run(t.Context(), dir, []string{"--quiet"}, run); err != nil {
		t.Fatal(err)
	}
	if tags := repoTags(t, got); !slices.Equal(tags, []string{"example/app:v1"}) {
		t.Errorf("the tarball's tags are %q", tags)
	}
}

// Bazel shows a layout in a sandbox as links to its files.
func TestWriteTarballOfLinks(t *testing.T) {
	real, linked := t.TempDir(), t.TempDir()
	image(t, real)
	write(t, real, "tags.txt", "example/app:v1")
	if err := os.CopyFS(linked, os.DirFS(real)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(linked, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(linked, path)
		return errors.Join(err, os.Remove(path), os.Symlink(filepath.Join(real, rel), path))
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := oci.WriteTarball(filepath.Join(linked, "image"), filepath.Join(linked, "tags.txt"), &b); err != nil {
		t.Fatal(err)
	}
	if tags := repoTags(t, b.Bytes()); len(tags) != 1 {
		t.Errorf("the tarball's tags are %q", tags)
	}
}

func repoTags(t *testing.T, tarball []byte) []string {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(tarball)); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("looking for manifest.json: %v", err)
		}
		if h.Name != "manifest.json" {
			continue
		}
		var manifest []struct{ RepoTags []string }
		if err := json.NewDecoder(r).Decode(&manifest); err != nil || len(manifest) != 1 {
			t.Fatalf("manifest.json: %v, %d images", err, len(manifest))
		}
		return manifest[0].RepoTags
	}
}

func TestReadOrders(t *testing.T) {
	for text, want := range map[string]string{
		`{"to_registry": {"image": "i"}}`:     "",
		`{"to_engine": {"image": "i"}}`:       "",
		`{}`:                                  "want either",
		`{"to_registry": {}, "to_engine":{}}`: "want either",
		`{"pull": {}}`:                        "unknown field",
	} {
		_, err := oci.ReadOrders(strings.NewReader(text))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
