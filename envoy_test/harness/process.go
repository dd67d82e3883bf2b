package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// keptLog is how much of the end of a process's log is kept.
const keptLog = 256 << 10

// process is a child with what it wrote. It leads a process group, so that whatever
// it starts ends with it.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   tail
	ended chan struct{} // closed when it has ended and err is set
	err   error
}

// startProcess runs a program. Its standard output and error become its log.
func startProcess(name, path, dir string, args, environment []string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	// Should this process end without stopping the child, as after a panic on
	// another goroutine, the operating system does it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// A grandchild that keeps the pipe open must not hold Wait forever.
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// signal sends to the whole group.
func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// stop asks the process to end, makes it after patience, and returns when it has.
func (p *process) stop(patience time.Duration) {
	select {
	case <-p.ended:
	default:
		p.signal(syscall.SIGTERM)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
	}
	// Also where the leader has ended: its children are in the group.
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// until calls ready every few milliseconds until it returns nil, the process ends
// or ctx does.
func (p *process) until(ctx context.Context, ready func() error) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s has ended before it was ready: %w; its log:\n%s", p.name, errors.Join(p.err, err), p.log.String())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its log:\n%s", p.name, errors.Join(ctx.Err(), err), p.log.String())
		case <-ticker.C:
		}
	}
}

// tail keeps the end of what is written to it. Safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	kept []byte
	cut  bool
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if len(t.kept) > 2*keptLog {
		t.kept, t.cut = append([]byte(nil), t.kept[len(t.kept)-keptLog:]...), true
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut {
		return "[...]" + string(t.kept)
	}
	return string(t.kept)
}

// ShortDir makes a temporary directory whose path leaves room for a Unix socket's
// name, of which the operating system takes 107 bytes.
func ShortDir() (string, error) {
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if len(parent) > 60 {
			continue
		}
		if dir, err := os.MkdirTemp(parent, "policy-engine-"); err == nil {
			return filepath.EvalSymlinks(dir)
		}
	}
	return "", errors.New("making a temporary directory: none with a short path can be written to")
}

// indent makes a log readable inside of another's.
func indent(s string) string { return "\t" + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n\t") }
