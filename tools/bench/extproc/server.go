package main

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
	"syscall"
	"time"
)

// server is a server under measurement, in a process of its own.
type server struct {
	socket string
	cmd    *exec.Cmd
	output bytes.Buffer
	ended  chan error
}

// start starts a server and waits until it takes connections on its Unix socket.
func start(ctx context.Context, socket, binary string, args ...string) (*server, error) {
	s := &server{socket: socket, cmd: exec.Command(binary, args...), ended: make(chan error, 1)}
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	// It must not outlive the measurement, however that ends.
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
			return nil, fmt.Errorf("%s ended: %w\n%s", binary, err, s.output.String())
		case <-deadline:
			s.stop()
			return nil, fmt.Errorf("%s does not listen on %s\n%s", binary, socket, s.output.String())
		case <-ctx.Done():
			s.stop()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
	}
}

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ, 100 on every Linux
// that Go runs on (proc(5)).
const clockTick = time.Second / 100

// cpu is the processor time, user and system, that the server has used.
func (s *server) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The command's name, in parentheses, may contain anything.
	_, rest, ok := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat is not as proc(5) says")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(err1, err2)
}
