// Package container_test runs the payments image in a container.
package container_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"policyengine.dev/tools/bundle/tests/container/namespaces"
	"policyengine.dev/tools/debian"
	"policyengine.dev/tools/runfiles"
)

func TestMain(m *testing.M) {
	namespaces.Child()
	os.Exit(m.Run())
}

var image = flag.String("image", "", "runfiles path of the image's layout")

// patience bounds everything that is waited for.
const patience = 2 * time.Minute

const chains = `
chains:
- name: payments
  policies:
  - name: set-header
    version: v1.0.0
    params:
      response:
        set:
        - {name: x-served-by, value: a container}
routes:
- name: charge
  chain: payments
`

// TestContainer: the image unpacks with umoci and runs with runc, with nothing but
// its own file and its configuration, is healthy over gRPC, and ends when it is told
// to. Root runs it as the image's user. Anybody else has one user to give it, in a
// user namespace, and the machine has to allow that.
func TestContainer(t *testing.T) {
	if *image == "" {
		if os.Getenv("TEST_WORKSPACE") != "" {
			t.Fatal("no image given")
		}
		t.Skip("run by ./bazelw test //tools/bundle/tests/container")
	}
	umoci, runc := debian.Program(t, "umoci"), debian.Program(t, "runc")
	if err := namespaces.Probe(t.TempDir()); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	layout := filepath.Join(t.TempDir(), "layout")
	copyLayout(t, layout)
	bundle := filepath.Join(t.TempDir(), "bundle")
	unpack := []string{"unpack", "--image", layout + ":latest"}
	if os.Geteuid() != 0 {
		unpack = append(unpack, "--rootless")
	}
	if out, err := exec.CommandContext(ctx, umoci, append(unpack, bundle)...).CombinedOutput(); err != nil {
		t.Fatalf("umoci: %v\n%s", err, out)
	}
	files := rootFiles(t, filepath.Join(bundle, "rootfs"))
	if len(files) != 1 || files[0] != "policy-engine" {
		t.Errorf("the image holds %q", files)
	}

	shared := shareDirectory(t, map[string]string{
		"engine.yaml": "listeners:\n- address: unix:/run/policy-engine/engine.sock\n  mode: '0666'\nadmin:\n  address: unix:/run/policy-engine/admin.sock\nsource:\n  path: chains.yaml\n",
		"chains.yaml": chains,
	})
	sockets := shareDirectory(t, nil)
	configure(t, bundle, map[string]string{"/etc/policy-engine": shared, "/run/policy-engine": sockets})

	container := start(t, runc, bundle)
	waitUntilHealthy(t, ctx, container, filepath.Join(sockets, "engine.sock"))
	if out, err := exec.CommandContext(ctx, runc, "--root", container.state, "kill", container.name, "TERM").CombinedOutput(); err != nil {
		t.Fatalf("runc kill: %v\n%s", err, out)
	}
	select {
	case <-container.ended:
		if container.err != nil {
			t.Errorf("told to end, it ended with %v", container.err)
		}
	case <-ctx.Done():
		t.Error("told to end, it goes on")
	}
}

// configure changes the OCI runtime's configuration as a container engine
// would, and checks what comes from the image.
func configure(t *testing.T, bundle string, mounts map[string]string) {
	t.Helper()
	file := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	process := config["process"].(map[string]any)
	if uid := process["user"].(map[string]any)["uid"]; uid != 65532.0 {
		t.Errorf("the image's user is %v", uid)
	}
	if os.Geteuid() != 0 {
		// The one user that the namespace has, which is the test's own outside.
		process["user"] = map[string]any{"uid": 0, "gid": 0}
	}
	delete(process, "rlimits")
	process["terminal"] = false
	config["root"].(map[string]any)["readonly"] = true

	linux := config["linux"].(map[string]any)
	var namespaces []any
	for _, namespace := range linux["namespaces"].([]any) {
		// Not every machine that tests run on lets one make these.
		if kind := namespace.(map[string]any)["type"]; kind != "network" && kind != "cgroup" {
			namespaces = append(namespaces, namespace)
		}
	}
	linux["namespaces"] = namespaces

	list := config["mounts"].([]any)
	for destination, source := range mounts {
		list = append(list, map[string]any{"destination": destination, "source": source, "type": "bind", "options": []string{"bind", "rw"}})
	}
	config["mounts"] = list
	if data, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

type container struct {
	name, state string
	ended       chan struct{}
	err         error // once ended is closed
}

// start runs the container until the test ends.
func start(t *testing.T, runc, bundle string) *container {
	t.Helper()
	c := &container{name: "policy-engine-" + filepath.Base(t.TempDir()) + filepath.Base(filepath.Dir(bundle)), state: t.TempDir(), ended: make(chan struct{})}
	var output bytes.Buffer
	command := exec.Command(runc, "--root", c.state, "run", "--bundle", bundle, c.name)
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.err = command.Wait()
		close(c.ended)
	}()
	t.Cleanup(func() {
		_ = exec.Command(runc, "--root", c.state, "delete", "--force", c.name).Run()
		select {
		case <-c.ended:
		case <-time.After(10 * time.Second):
			_ = command.Process.Kill()
			<-c.ended
		}
		if t.Failed() {
			t.Logf("what the container said:\n%s", output.Bytes())
		}
	})
	return c
}

func waitUntilHealthy(t *testing.T, ctx context.Context, c *container, socket string) {
	t.Helper()
	connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	client := healthpb.NewHealthClient(connection)
	for {
		answer, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
		if err == nil && answer.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return
		}
		select {
		case <-c.ended:
			t.Fatalf("the container ended: %v", c.err)
		case <-ctx.Done():
			t.Fatalf("not healthy: %v, %v", answer, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// shareDirectory makes a directory with files that any user may read, and add
// to.
func shareDirectory(t *testing.T, files map[string]string) string {
	t.Helper()
	// Not t.TempDir(): the directories around it are for this user alone, and a
	// socket's path has to be short.
	dir, err := os.MkdirTemp("/tmp", "pe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// copyLayout copies the image to where umoci may write beside it.
func copyLayout(t *testing.T, to string) {
	t.Helper()
	from, err := runfiles.Path(*image)
	if err != nil {
		t.Fatal(err)
	}
	if from, err = filepath.EvalSymlinks(from); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, relative), 0o755)
		}
		data, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(filepath.Join(to, relative), data, 0o644))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rootFiles are the files in the container's root, directories left out.
func rootFiles(t *testing.T, root string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			relative, _ := filepath.Rel(root, path)
			files = append(files, relative)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
