package tests_test

import (
	"bytes"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var (
	image     = flag.String("image", "", "an image, as an OCI layout")
	elsewhere = flag.String("elsewhere", "", "the same image, compiled, linked and written in another package")
	other     = flag.String("other", "", "the image of another bundle")
)

// TestReproducible: an image is the same bytes wherever its program is compiled, linked
// and written. The packages that it is linked of know no place at all (.bazelrc:
// --experimental_output_paths); `.ci/run --full` compiles them elsewhere, too. The
// image of another bundle shows that the comparison sees a difference.
func TestReproducible(t *testing.T) {
	if *image == "" {
		if os.Getenv("TEST_WORKSPACE") != "" {
			t.Fatal("no images given")
		}
		t.Skip("run by ./bazelw test //tools/bundle/tests:tests_test, which builds the images")
	}
	if a, b := realPath(t, *image), realPath(t, *elsewhere); a == b {
		t.Fatalf("both images are %s: nothing was built twice", a)
	}
	first := files(t, *image)
	if len(first) != 5 {
		t.Errorf("an image of one layer has 5 files, this one %d", len(first))
	}
	if diff := differing(first, files(t, *elsewhere)); len(diff) > 0 {
		t.Errorf("built twice, these differ: %q", diff)
	}
	if diff := differing(first, files(t, *other)); len(diff) != 7 { // the index, and manifest, config and layer of both
		t.Errorf("another bundle shows in %q", diff)
	}
}

func realPath(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	dir = realPath(t, dir)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		all[relative], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// differing are the names of files that are not in both, with the same content.
func differing(a, b map[string][]byte) []string {
	var names []string
	for name := range maps.Keys(merged(a, b)) {
		one, inA := a[name]
		other, inB := b[name]
		if !inA || !inB || !bytes.Equal(one, other) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func merged(a, b map[string][]byte) map[string][]byte {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
