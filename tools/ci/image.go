package ci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const image = "//bundles:payments_image"

// sameImage builds the image here and, with nothing cached, from a clone in
// another directory, and compares them byte by byte.
func (r Repository) sameImage(ctx context.Context) Outcome {
	var changed bytes.Buffer
	if err := r.run(ctx, r.Root, &changed, "git", "status", "--porcelain"); err != nil {
		return failed("git status: %v", err)
	}
	if changed.Len() > 0 {
		return failed("the working tree has changes that a clone would not have: commit or stash them")
	}
	clone := filepath.Join(r.Temp, "another", "directory", "clone")
	if err := r.run(ctx, r.Root, r.Out, "git", "clone", "--quiet", "--no-hardlinks", r.Root, clone); err != nil {
		return failed("git clone: %v", err)
	}
	defer r.expunge(ctx, clone)
	here, err := r.build(ctx, r.Root)
	if err != nil {
		return failed("%v", err)
	}
	// Its actions see where they are built, too.
	there, err := r.build(ctx, clone, "--disk_cache=", "--experimental_output_paths=off")
	if err != nil {
		return failed("%v", err)
	}
	if problems := differences(here, there); len(problems) > 0 {
		return Outcome{Failed: 1, Problems: problems}
	}
	fmt.Fprintf(r.Out, "%d files, all the same\n", len(here))
	return passed
}

// build builds the image and returns the hashes of its files.
func (r Repository) build(ctx context.Context, dir string, flags ...string) (map[string]string, error) {
	if err := r.run(ctx, dir, r.Out, "./bazelw", append([]string{"build", image}, flags...)...); err != nil {
		return nil, fmt.Errorf("building %s in %s: %w", image, dir, err)
	}
	var files bytes.Buffer
	if err := r.run(ctx, dir, &files, "./bazelw", append([]string{"cquery", "--output=files", image}, flags...)...); err != nil {
		return nil, fmt.Errorf("asking where %s is: %w", image, err)
	}
	paths := strings.Fields(files.String())
	if len(paths) != 1 {
		return nil, fmt.Errorf("%s is %q, want one directory", image, paths)
	}
	return hashes(filepath.Join(dir, paths[0]))
}

// expunge takes away what building in the clone left outside it: Bazel's server
// and its output.
func (r Repository) expunge(ctx context.Context, clone string) {
	if err := r.run(context.WithoutCancel(ctx), clone, r.Out, "./bazelw", "clean", "--expunge"); err != nil {
		fmt.Fprintln(r.Out, "cleaning up:", err)
	}
}

// hashes returns the SHA-256 of each file below dir, by its relative path.
func hashes(dir string) (map[string]string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		rel, relErr := filepath.Rel(dir, path)
		found[rel] = fmt.Sprintf("%x", h.Sum(nil))
		return errors.Join(err, relErr, f.Close())
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s holds no file", dir)
	}
	return found, err
}

func differences(here, there map[string]string) []string {
	var found []string
	for _, name := range sorted(here) {
		switch other, ok := there[name]; {
		case !ok:
			found = append(found, name+": only here")
		case other != here[name]:
			found = append(found, name+": differs")
		}
	}
	for _, name := range sorted(there) {
		if _, ok := here[name]; !ok {
			found = append(found, name+": only in the clone")
		}
	}
	return found
}
