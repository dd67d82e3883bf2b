// Package push_test pushes the payments image to a real registry.
package push_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/tools/debian"
	"policyengine.dev/tools/debian/registry"
	"policyengine.dev/tools/runfiles"
)

var (
	push  = flag.String("push", "", "runfiles path of the target that pushes")
	image = flag.String("image", "", "runfiles path of the image's layout")
)

// patience bounds everything that is waited for.
const patience = 2 * time.Minute

// TestPush: the target pushes to the repository and tag that it is told, and
// a client that has nothing to do with how it was built reads back the same.
func TestPush(t *testing.T) {
	if *push == "" {
		if os.Getenv("TEST_WORKSPACE") != "" {
			t.Fatal("no target that pushes")
		}
		t.Skip("run by ./bazelw test //tools/bundle/tests/push")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	skopeo := debian.Program(t, "skopeo")
	repository := registry.Start(t) + "/some/where/payments"

	run(t, ctx, runfile(t, *push), "--repository", repository, "--tag", "v1.2.3")

	wanted := manifestOf(t, runfile(t, *image))
	var inspected struct {
		Digest   string
		Labels   map[string]string
		RepoTags []string
	}
	out := run(t, ctx, skopeo, "inspect", "--tls-verify=false", "docker://"+repository+":v1.2.3")
	if err := json.Unmarshal(out, &inspected); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if inspected.Digest != wanted {
		t.Errorf("v1.2.3 is %s, the image is %s", inspected.Digest, wanted)
	}
	if inspected.Labels["dev.policyengine.bundle"] != "payments" || !strings.Contains(inspected.Labels["dev.policyengine.policies"], "set-header@v1.0.0") {
		t.Errorf("labels: %v", inspected.Labels)
	}
	// A push of an old version must not move the tag of the newest.
	if diff := cmp.Diff([]string{"v1.2.3"}, inspected.RepoTags); diff != "" {
		t.Errorf("tags (-wanted +got)\n%s", diff)
	}

	readBack := filepath.Join(t.TempDir(), "layout")
	run(t, ctx, skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+repository+":v1.2.3", "oci:"+readBack+":latest")
	if diff := cmp.Diff(blobs(t, runfile(t, *image)), blobs(t, readBack)); diff != "" {
		t.Errorf("blobs (-built +read back)\n%s", diff)
	}
}

// TestPushFails: a registry that is not there is an error, not a silence.
func TestPushFails(t *testing.T) {
	if *push == "" {
		t.Skip("run by ./bazelw test //tools/bundle/tests/push")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, runfile(t, *push), "--repository", "127.0.0.1:1/payments", "--tag", "v1")
	if out, err := command.CombinedOutput(); err == nil {
		t.Errorf("pushing to nowhere succeeds:\n%s", out)
	}
}

func runfile(t *testing.T, name string) string {
	t.Helper()
	path, err := runfiles.Path(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, ctx context.Context, name string, args ...string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, name, args...)
	command.Env = append(os.Environ(), "HOME="+t.TempDir())
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", filepath.Base(name), args, err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes()
}

// manifestOf is the digest of a layout's one manifest.
func manifestOf(t *testing.T, layout string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(data, &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("%v, %d manifests", err, len(index.Manifests))
	}
	return index.Manifests[0].Digest
}

// blobs are the names of a layout's blobs, which are the digests of what is in
// them, with their sizes.
func blobs(t *testing.T, layout string) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	dir, err := filepath.EvalSymlinks(layout)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Join(dir, "blobs"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err == nil {
			sizes[entry.Name()] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sizes
}
