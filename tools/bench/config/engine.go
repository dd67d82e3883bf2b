package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"policyengine.dev/tools/bench/server"
)

// engine is the engine under measurement.
type engine struct {
	*server.Server
	began time.Time
	admin http.Client
}

func startEngine(ctx context.Context, binary string, c *configuration) (*engine, error) {
	e := &engine{began: time.Now()}
	e.admin.Transport = &http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.admin())
		},
	}
	var err error
	e.Server, err = server.Start(ctx, c.socket, binary, "-config", c.engineFile())
	return e, err
}

func (e *engine) stop() {
	e.admin.CloseIdleConnections()
	e.Stop()
}

// get reads a page and returns its size and, where it is small, its content.
func (e *engine) get(ctx context.Context, path string) (status int, size int64, content []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin"+path, nil)
	if err != nil {
		return 0, 0, nil, err
	}
	resp, err := e.admin.Do(r)
	if err != nil {
		return 0, 0, nil, err
	}
	defer resp.Body.Close()
	var head bytes.Buffer
	size, err = io.Copy(&head, io.LimitReader(resp.Body, 1<<20))
	if err == nil {
		var rest int64
		rest, err = io.Copy(io.Discard, resp.Body)
		size += rest
	}
	return resp.StatusCode, size, head.Bytes(), err
}

// waitReady waits until the engine says that it is ready.
func (e *engine) waitReady(ctx context.Context) error {
	for {
		if status, _, _, err := e.get(ctx, "/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case err := <-e.Ended():
			return fmt.Errorf("the engine has ended: %w\n%s", err, e.Output())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// liveHeap collects garbage, and returns how large the heap is then.
func (e *engine) liveHeap(ctx context.Context) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin/debug/pprof/heap?gc=1&debug=1", nil)
	if err != nil {
		return 0, err
	}
	resp, err := e.admin.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "# HeapAlloc = "); ok {
			return strconv.ParseInt(rest, 10, 64)
		}
	}
	return 0, fmt.Errorf("the heap's profile has no HeapAlloc: %w", lines.Err())
}

// memory returns the resident memory of the engine, and the most that it was.
func (e *engine) memory() (resident, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.PID()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			resident = kilobytes << 10
		case "VmHWM":
			peak = kilobytes << 10
		}
	}
	return resident, peak, nil
}
