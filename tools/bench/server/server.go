// Package server runs a server that is measured in its own process.
package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Server is a process that listens on a Unix socket. Stop it.
type Server struct {
	socket string
	cmd    *exec.Cmd
	output output
	ended  chan error
}

// Start starts a server and waits, for at most 30 s, until it takes connections on its Unix socket. The process ends
// with the one that has started it, however that ends.
func Start(ctx context.Context, socket, binary string, args ...string) (*Server, error) {
	s := &Server{socket: socket, cmd: exec.Command(binary, args...), ended: make(chan error, 1)}
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.cmd.Wait() }()
	deadline := time.After(30 * time.Second)
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			return s, conn.Close()
		}
		select {
		case err := <-s.ended:
			return nil, fmt.Errorf("%s ended: %w\n%s", binary, err, s.Output())
		case <-deadline:
			s.Stop()
			return nil, fmt.Errorf("%s does not listen on %s\n%s", binary, socket, s.Output())
		case <-ctx.Done():
			s.Stop()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop kills the process and waits for its end.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill()
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
	}
}

// Socket is the path of the socket.
func (s *Server) Socket() string { return s.socket }

// PID is the number of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Ended gives how the process has ended, once it has.
func (s *Server) Ended() <-chan error { return s.ended }

// Output is what the process has written to its standard output and error.
func (s *Server) Output() string { return s.output.String() }

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ, 100 on every Linux
// that Go runs on (proc(5)).
const clockTick = time.Second / 100

// CPU is the processor time, user and system, that the process has used.
func (s *Server) CPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	if err != nil {
		return 0, err
	}
	// The command's name, in parentheses, may contain anything.
	_, rest, ok := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat does not have the format of proc(5)")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(err1, err2)
}

// output is what a process writes. Safe for concurrent use.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String is what was written.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
