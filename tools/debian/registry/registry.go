// Package registry runs Debian's docker-registry for tests.
package registry

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"policyengine.dev/tools/debian"
)

// patience bounds the wait for the registry.
const patience = 2 * time.Minute

// Start runs Debian's docker-registry on a free port until the test
// ends, and returns its address.
func Start(t *testing.T) string {
	t.Helper()
	registry := debian.Program(t, "docker-registry")
	config := filepath.Join(t.TempDir(), "config.yml")
	err := os.WriteFile(config, fmt.Appendf(nil, "version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: '127.0.0.1:0'}\n", t.TempDir()), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(registry, "serve", config)
	output, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	address, done := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(done)
		readLog(output, &log, address)
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-done
		_ = command.Wait()
		if t.Failed() {
			t.Logf("the registry's log:\n%s", log.Bytes())
		}
	})
	select {
	case a := <-address:
		return a
	case <-done:
		t.Fatal("the registry ended at once")
	case <-time.After(patience):
		t.Fatal("the registry does not say where it listens")
	}
	return ""
}

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)

func readLog(output io.Reader, log *bytes.Buffer, address chan<- string) {
	lines := bufio.NewScanner(io.TeeReader(output, log))
	for told := false; lines.Scan(); {
		if match := listening.FindStringSubmatch(lines.Text()); match != nil && !told {
			told = true
			address <- match[1]
		}
	}
}
