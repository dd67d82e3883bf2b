package planecmd_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/planecmd"
)

// buffer is what a command has written so far.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func call(ctx context.Context, out *buffer, args ...string) int {
	return commandline.Main(ctx, planecmd.Command(), args, commandline.IO{Out: out, Err: out})
}

// TestCommands proves that a control plane serves a directory until it is told to end, shows
// what it serves, and goes back to an earlier version with its token alone.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	chains := func(limit int) string {
		return fmt.Sprintf("chains: [{name: a, policies: [], bodyLimit: %d}]\nroutes: [{name: r, chain: a}]\n", limit)
	}
	write("served/chains.yaml", chains(1))
	token, other := write("token", "0123456789abcdef0\n"), write("other", "another-0123456789\n")
	ctx, cancel := context.WithCancel(t.Context())
	log, ended := new(buffer), make(chan int, 1)
	go func() {
		ended <- call(ctx, log, filepath.Join(dir, "served"), "--listen", "127.0.0.1:0", "--pages", "127.0.0.1:0", "--token-file", token)
	}()
	defer cancel()
	eventually := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %s", what, log)
			}
		}
	}
	pages := regexp.MustCompile(`pages=(\S+)`)
	eventually("it serves", func() bool { return pages.MatchString(log.String()) })
	address := pages.FindStringSubmatch(log.String())[1]
	served := regexp.MustCompile(`served ([0-9a-f]{16})`)
	version := func() string {
		out := new(buffer)
		if code := call(t.Context(), out, "status", "--pages", address); code != 0 {
			t.Fatalf("status: %d %s", code, out)
		}
		return served.FindStringSubmatch(out.String())[1]
	}
	first := version()
	write("served/chains.yaml", chains(2))
	eventually("the change is served", func() bool { return version() != first })
	for file, want := range map[string]int{other: 1, token: 0} {
		out := new(buffer)
		if code := call(t.Context(), out, "rollback", first, "--pages", address, "--token-file", file); code != want {
			t.Errorf("rollback with %s: %d %s", filepath.Base(file), code, out)
		}
	}
	eventually("the first is served again", func() bool { return version() == first })
	if b, err := os.ReadFile(filepath.Join(dir, "served", "chains.yaml")); err != nil || string(b) != chains(1) {
		t.Errorf("the file is %s %v", b, err)
	}
	if strings.Contains(log.String(), "0123456789abcdef0") {
		t.Error("the log has the token")
	}
	cancel()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("it has ended with %d", code)
		}
	case <-time.After(30 * time.Second):
		t.Error("it has not ended")
	}
}

// TestPlaintextIsRefused proves that nothing is served in plaintext that other machines can
// reach.
func TestPlaintextIsRefused(t *testing.T) {
	out := new(buffer)
	if code := call(t.Context(), out, t.TempDir(), "--listen", "0.0.0.0:0"); code != commandline.ExitUsage || !strings.Contains(out.String(), "--tls-cert") {
		t.Errorf("%d %s", code, out)
	}
}
