package closed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The paths that matter in the unpacked packages.
const (
	bazelClient   = "usr/bin/bazel"
	installBase   = "usr/share/bazel"
	helpers       = "usr/libexec/x86_64-linux-gnu/bazel"
	libraries     = "usr/lib/x86_64-linux-gnu"
	loader        = libraries + "/ld-linux-x86-64.so.2"
	classpathFile = installBase + "/bazel_classpath_debian_depends.txt"
)

// lacking is a jar that Debian's list forgets: with what it depends on installed
// system-wide it is found by another way, here the server would start and its
// client never reach it.
const lacking = "/usr/share/java/perfmark-api.jar"

// relocate makes the packages unpacked in dir run from final, where they will
// stand: the programs find their loader and libraries there, whatever the host's
// C library is, and the server its jars.
func relocate(ctx context.Context, run runner, patchelf, dir, final string) error {
	programs, err := filepath.Glob(filepath.Join(dir, helpers, "*"))
	if err != nil {
		return err
	}
	for _, p := range append(programs, filepath.Join(dir, bazelClient)) {
		// Two calls: patchelf does not do both at once reliably. RPATH rather than
		// RUNPATH, which does not reach the libraries of libraries.
		_, err := run.output(ctx, "", nil, patchelf, "--set-interpreter", filepath.Join(final, loader), p)
		if err == nil {
			_, err = run.output(ctx, "", nil, patchelf, "--force-rpath", "--set-rpath", filepath.Join(final, libraries), p)
		}
		if err != nil {
			return fmt.Errorf("making %s relocatable: %w", filepath.Base(p), err)
		}
	}
	list := filepath.Join(dir, classpathFile)
	text, err := os.ReadFile(list)
	if err != nil {
		return fmt.Errorf("reading the list of Bazel's jars: %w", err)
	}
	return os.WriteFile(list, []byte(relocateClasspath(string(text), final)), 0o644)
}

// relocateClasspath puts final before each path of a list of jars, one a line.
func relocateClasspath(list, final string) string {
	var out strings.Builder
	has := false
	for _, jar := range strings.Fields(list) {
		has = has || jar == lacking
		out.WriteString(final + jar + "\n")
	}
	if !has {
		out.WriteString(final + lacking + "\n")
	}
	return out.String()
}

// unpack unpacks Debian packages into dir.
func unpack(ctx context.Context, run runner, debs []string, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, deb := range debs {
		if _, err := run.output(ctx, "", nil, "dpkg-deb", "-x", deb, dir); err != nil {
			return fmt.Errorf("unpacking %s: %w", filepath.Base(deb), err)
		}
	}
	for _, needed := range []string{bazelClient, installBase, helpers, loader, classpathFile} {
		if _, err := os.Stat(filepath.Join(dir, needed)); err != nil {
			return problem{
				fmt.Sprintf("the packages of Debian's suite %s have changed: there is no %s in them", suite, needed),
				"set " + MirrorVariable + " to a dated snapshot of it",
			}
		}
	}
	return nil
}
