// Package redistest starts real Redis servers for tests: one alone, one with a replica and
// a sentinel, and a cluster.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"policyengine.dev/tools/debian"
)

// patience bounds every wait.
const patience = 30 * time.Second

// Server is a redis-server on a loopback port. It ends with the test.
type Server struct {
	// Address is HOST:PORT. It stays the same when the server is started again.
	Address string

	t       testing.TB
	args    []string
	dir     string
	command *exec.Cmd
	client  *redis.Client
}

// Start starts a server that keeps nothing on disk, with further arguments as on its
// command line. It returns when the server answers. The test is skipped where there is no
// redis-server.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	var err error
	// The port is free when it is chosen, and may be taken when the server starts.
	for range 5 {
		port := freePort(t)
		s := &Server{Address: "127.0.0.1:" + port, t: t, dir: t.TempDir()}
		s.args = append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir, "--loglevel", "warning"}, args...)
		if err = s.start(); err == nil {
			s.client = redis.NewClient(&redis.Options{Addr: s.Address, Protocol: 2, DisableIdentity: true, MaxRetries: -1, ContextTimeoutEnabled: true})
			t.Cleanup(func() { _ = s.client.Close() })
			return s
		}
	}
	t.Fatalf("starting redis-server: %v", err)
	return nil
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func (s *Server) start() error {
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	c := exec.Command(debian.Program(s.t, "redis-server"), s.args...)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		return err
	}
	s.command = c
	ended := make(chan struct{})
	go func() { _ = c.Wait(); close(ended) }()
	s.t.Cleanup(func() { _ = c.Process.Kill(); <-ended })
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("it has ended: %s", text)
		case <-time.After(5 * time.Millisecond):
		}
		if answers(s.Address) {
			return nil
		}
	}
	return fmt.Errorf("it does not answer within %s", patience)
}

// answers reports whether a Redis server answers, be it with an error.
func answers(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	var b [5]byte
	n, err := c.Read(b[:])
	return err == nil && n > 0 && (b[0] == '+' || strings.HasPrefix(string(b[:n]), "-NOAU"))
}

// Kill ends the server at once.
func (s *Server) Kill() {
	_ = s.command.Process.Kill()
	s.Eventually("the server has ended", func() bool { return !answers(s.Address) })
}

// Restart starts it again after Kill, empty.
func (s *Server) Restart() {
	s.t.Helper()
	var err error
	s.Eventually("the server has started again", func() bool { err = s.start(); return err == nil })
	if err != nil {
		s.t.Fatal(err)
	}
}

// Pause stops the process (SIGSTOP): connections stay open, and nothing answers.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.command.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Do runs a command and returns its reply.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	v, err := s.Try(args...)
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return v
}

// Try is Do with the error.
func (s *Server) Try(args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.client.Do(ctx, args...).Result()
}

// Eventually waits until ok.
func (s *Server) Eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("waiting in vain until %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Sentinel is a sentinel with a server and its replica.
type Sentinel struct {
	*Server
	Primary, Replica *Server
}

// SentinelMaster is the name that the sentinel knows its servers by.
const SentinelMaster = "limits"

// StartSentinel starts a server, its replica, and a sentinel that knows both.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	primary := Start(t)
	host, port, _ := net.SplitHostPort(primary.Address)
	replica := Start(t, "--replicaof", host+" "+port)
	replica.Eventually("the replica has a link", func() bool {
		return strings.Contains(fmt.Sprint(replica.Do("info", "replication")), "master_link_status:up")
	})
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 3000\n", SentinelMaster, host, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var s *Server
	for range 5 {
		p := freePort(t)
		s = &Server{Address: "127.0.0.1:" + p, t: t, dir: t.TempDir(), args: []string{config, "--sentinel", "--port", p, "--bind", "127.0.0.1"}}
		if s.start() == nil {
			break
		}
	}
	s.client = redis.NewClient(&redis.Options{Addr: s.Address, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = s.client.Close() })
	s.Eventually("the sentinel knows the replica", func() bool {
		return strings.Contains(fmt.Sprint(s.Do("sentinel", "replicas", SentinelMaster)), strings.TrimPrefix(replica.Address, "127.0.0.1:"))
	})
	return &Sentinel{s, primary, replica}
}

// StartCluster starts a cluster of n primaries without replicas.
func StartCluster(t testing.TB, n int) []*Server {
	t.Helper()
	var nodes []*Server
	for i := range n {
		node := Start(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000")
		node.Do("cluster", "set-config-epoch", i+1)
		node.Do("cluster", "addslotsrange", i*16384/n, (i+1)*16384/n-1)
		nodes = append(nodes, node)
	}
	first := nodes[0]
	host, port, _ := net.SplitHostPort(first.Address)
	bus := first.args[slices.Index(first.args, "--cluster-port")+1]
	for _, node := range nodes[1:] {
		node.Do("cluster", "meet", host, port, bus)
	}
	for _, node := range nodes {
		node.Eventually("the cluster is whole", func() bool {
			info := fmt.Sprint(node.Do("cluster", "info"))
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", n))
		})
	}
	return nodes
}
