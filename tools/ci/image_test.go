package ci

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestHashesAndDifferences(t *testing.T) {
	write := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	hash := func(files map[string]string) map[string]string {
		found, err := hashes(write(files))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	base := map[string]string{"index.json": "{}", "blobs/sha256/a": "a"}
	tests := []struct {
		name  string
		there map[string]string
		want  []string
	}{
		{"equal trees have no differences", base, nil},
		{"other content differs", map[string]string{"index.json": "{ }", "blobs/sha256/a": "a"}, []string{"index.json: differs"}},
		{"so do files that only one has", map[string]string{"index.json": "{}", "blobs/sha256/b": "a"}, []string{"blobs/sha256/a: only here", "blobs/sha256/b: only in the clone"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := differences(hash(base), hash(tt.there)); !slices.Equal(got, tt.want) {
				t.Errorf("differences = %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := hashes(t.TempDir()); err == nil {
		t.Error("a directory without a file passed for an image")
	}
}
