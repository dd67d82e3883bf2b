package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"policyengine.dev/policies/rate-limit/internal/redisstore"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
	"policyengine.dev/tools/redistest"
)

// slowed dials with a delay in front of each reply.
type slowed struct{ delay atomic.Int64 }

func (s *slowed) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(c, far); _ = c.Close() })
	both.Go(func() {
		defer func() { _ = far.Close() }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := c.Read(buffer)
			time.Sleep(time.Duration(s.delay.Load()))
			if _, e := far.Write(buffer[:n]); e != nil || err != nil {
				return
			}
		}
	})
	return near, nil
}

// TestAway proves for each way in which a server can be away that requests get an error
// within the timeout, that it is left alone after a few, and that it is used again when it
// is back.
func TestAway(t *testing.T) {
	for name, way := range map[string]struct {
		away, back func(*redistest.Server, *slowed)
		want       string
	}{
		"stopped": {func(s *redistest.Server, _ *slowed) { s.Kill() }, func(s *redistest.Server, _ *slowed) { s.Restart() }, ""},
		"paused":  {func(s *redistest.Server, _ *slowed) { s.Pause() }, func(s *redistest.Server, _ *slowed) { s.Resume() }, "deadline exceeded"},
		"slowed": {
			func(_ *redistest.Server, p *slowed) { p.delay.Store(int64(time.Second)) },
			func(_ *redistest.Server, p *slowed) { p.delay.Store(0) }, "deadline exceeded",
		},
		"full": {
			func(s *redistest.Server, _ *slowed) { s.Do("config", "set", "maxmemory", "1") },
			func(s *redistest.Server, _ *slowed) { s.Do("config", "set", "maxmemory", "0") }, "OOM",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, proxy := redistest.Start(t, "--maxmemory-policy", "noeviction"), &slowed{}
			h := policytest.NewHost()
			h.Dial = proxy.dial
			s := openWith(t, h, redisstore.Params{Addresses: []string{server.Address}, Timeout: policy.Duration(200 * time.Millisecond)})
			q := redisstore.Request{Key: "k", Rate: rate(t, 1, time.Hour, 1000), Cost: 1}
			send := func() error {
				_, err := s.Take(t.Context(), []redisstore.Request{q})
				return err
			}
			server.Eventually("it is connected", func() bool { h.Clock.Advance(2 * time.Second); return send() == nil })
			way.away(server, proxy)
			var err error
			for i := 0; !errors.Is(err, redisstore.ErrPaused); i++ {
				if err = send(); err == nil || i > 5 {
					t.Fatalf("request %d: %v", i, err)
				}
				if !errors.Is(err, redisstore.ErrPaused) && !strings.Contains(err.Error(), way.want) {
					t.Errorf("the error is %v", err)
				}
			}
			if got := h.Metrics.Value("redis_paused"); got != 1 {
				t.Errorf("redis_paused is %v", got)
			}
			way.back(server, proxy)
			if err := send(); !errors.Is(err, redisstore.ErrPaused) {
				t.Errorf("within the pause: %v", err)
			}
			server.Eventually("it is used again", func() bool { h.Clock.Advance(time.Second); return send() == nil })
			if got := h.Metrics.Value("redis_paused"); got != 0 {
				t.Errorf("redis_paused is %v", got)
			}
		})
	}
}

// TestAFullServerStillRefuses proves that a server without memory goes on refusing keys
// over their limit, which needs no write.
func TestAFullServerStillRefuses(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	s := open(t, single(server))
	q := redisstore.Request{Key: "k", Rate: rate(t, 1, time.Hour, 1), Cost: 1}
	take(t, s, q)
	server.Do("config", "set", "maxmemory", "1")
	if take(t, s, q) {
		t.Error("a request over its limit is allowed")
	}
}

// TestRestartedEmpty proves that the script is loaded again, and that counting begins anew.
func TestRestartedEmpty(t *testing.T) {
	server := redistest.Start(t)
	h := policytest.NewHost()
	h.Dial = new(net.Dialer).DialContext
	s := openWith(t, h, single(server))
	q := redisstore.Request{Key: "k", Rate: rate(t, 1, time.Hour, 1), Cost: 1}
	if !take(t, s, q) || take(t, s, q) {
		t.Fatal("a burst of one is not one")
	}
	server.Kill()
	server.Restart()
	allowed := false
	server.Eventually("it is used again", func() bool {
		h.Clock.Advance(time.Second)
		ok, err := s.Take(t.Context(), []redisstore.Request{q})
		allowed = ok
		return err == nil
	})
	if !allowed || take(t, s, q) {
		t.Errorf("after a restart: %t", allowed)
	}
	server.Do("script", "flush")
	if take(t, s, q) {
		t.Error("without the script: allowed")
	}
}

// TestFailover proves that the replica which the sentinel promotes is used, and has the
// counts that were replicated.
func TestFailover(t *testing.T) {
	servers := redistest.StartSentinel(t)
	h := policytest.NewHost()
	h.Dial = new(net.Dialer).DialContext
	s := openWith(t, h, redisstore.Params{Mode: "sentinel", Master: redistest.SentinelMaster, Addresses: []string{servers.Address}, Timeout: policy.Duration(2 * time.Second)})
	q := redisstore.Request{Key: "k", Rate: rate(t, 1, time.Hour, 1), Cost: 1}
	if !take(t, s, q) {
		t.Fatal("the first request is refused")
	}
	servers.Eventually("it is replicated", func() bool { return state(servers.Replica, "k") != "" })
	servers.Primary.Kill()
	allowed := false
	servers.Eventually("the replica is used", func() bool {
		h.Clock.Advance(time.Second)
		ok, err := s.Take(t.Context(), []redisstore.Request{q})
		allowed = ok
		return err == nil
	})
	if allowed {
		t.Error("the failover gave a new burst")
	}
	if !take(t, s, redisstore.Request{Key: "new", Rate: q.Rate, Cost: 1}) || state(servers.Replica, "new") == "" {
		t.Error("the new primary does not count")
	}
}

// fake is a server that answers each command with the same bytes, and takes commands as
// long as they end within one read.
func fake(t testing.TB, reply []byte) (dial func(context.Context, string, string) (net.Conn, error)) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer func() { _ = far.Close() }()
			buffer := make([]byte, 64<<10)
			for {
				if _, err := far.Read(buffer); err != nil {
					return
				}
				if _, err := far.Write(reply); err != nil {
					return
				}
			}
		}()
		return near, nil
	}
}

// nonsense are replies of servers that are none, or hostile ones.
var nonsense = []string{
	"HTTP/1.1 400 Bad Request\r\n\r\n", "+OK\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", ":1\r\n", "*2\r\n:1\r\n:2\r\n", "*4\r\n:1\r\n:2\r\n:-3\r\n:4\r\n",
	"*4\r\n:1\r\n:1000\r\n:0\r\n:0\r\n", "*4\r\n:7\r\n:1\r\n:1\r\n:0\r\n", "*4\r\n:1\r\n:9223372036854775807\r\n:9223372036854775807\r\n:9223372036854775807\r\n",
	"*4\r\n+1\r\n$1\r\n1\r\n:0\r\n*0\r\n", "$99999999999999\r\n", "$1099511627776\r\n", "*2147483647\r\n", strings.Repeat("*1\r\n", 100_000), "%1\r\n+a\r\n+b\r\n",
	">3\r\n+invalidate\r\n:1\r\n:2\r\n", "_\r\n", "#t\r\n", ",1e999\r\n", "(99999999999999999999\r\n", "=5\r\ntxt:a\r\n", "$?\r\n;4\r\nabcd\r\n;0\r\n", "-ERR\r\n", "-\r\n",
	"-MOVED 1 127.0.0.1:1\r\n", "-ASK 1 127.0.0.1:1\r\n", "-MOVED x y\r\n", "-ERR unknown command 'AUTH' with args 'hunter2-hunter2'\r\n", "\r\n", "\x00\xff", "+" + strings.Repeat("a", 5<<20),
}

// TestNonsense proves that a server which answers nonsense gives errors, never an answer, a
// panic or memory without bounds, and that nothing of its text is told.
func TestNonsense(t *testing.T) {
	for i, reply := range nonsense {
		for _, mode := range []string{"single", "cluster", "sentinel"} {
			t.Run(fmt.Sprint(i, " ", mode), func(t *testing.T) {
				h := policytest.NewHost()
				h.Dial = fake(t, []byte(reply))
				p := redisstore.Params{Mode: mode, Addresses: []string{"127.0.0.1:1"}, Timeout: policy.Duration(100 * time.Millisecond), Password: policy.InlineSecret("hunter2-hunter2")}
				if mode == "sentinel" {
					p.Master = "m"
				}
				s := openWith(t, h, p)
				for range 6 {
					ok, err := s.Take(t.Context(), []redisstore.Request{{Key: "k", Rate: rate(t, 1, time.Second, 1), Cost: 1}})
					if ok || err == nil || strings.Contains(err.Error(), "hunter2") {
						t.Fatalf("%.60q gives %t, %v", reply, ok, err)
					}
				}
				if log := h.Logs.String(); strings.Contains(log, "hunter2") {
					t.Errorf("the log is %s", log)
				}
			})
		}
	}
}

// FuzzReply holds that any reply to the script gives an error or an answer within what the
// limit may say.
func FuzzReply(f *testing.F) {
	for _, reply := range nonsense {
		if len(reply) < 1000 {
			f.Add([]byte(reply))
		}
	}
	f.Add([]byte("*4\r\n:1\r\n:1000\r\n:1000\r\n:0\r\n"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		h := policytest.NewHost()
		h.Dial = fake(t, reply)
		s := openWith(t, h, redisstore.Params{Addresses: []string{"127.0.0.1:1"}, Timeout: policy.Duration(20 * time.Millisecond), Connections: 1})
		q := []redisstore.Request{{Key: "k", Rate: rate(t, 2, time.Second, 3), Cost: 1}}
		ok, err := s.Take(t.Context(), q)
		if d := q[0].Decision; err == nil && (ok != d.Allowed || d.Remaining > 3 || d.Reset < 0) {
			t.Errorf("%q gives %t, %+v", reply, ok, d)
		}
	})
}

// TestPiecesMakeNoDifference proves that the framing is the same however the bytes come.
func TestPiecesMakeNoDifference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	good := "*3\r\n$5\r\na\r\nbc\r\n*2\r\n:1\r\n$-1\r\n+fine\r\n"
	for _, reply := range append([]string{good, good + good}, nonsense...) {
		want := redisstore.Framing([]byte(reply))
		if strings.HasPrefix(reply, good) && !want {
			t.Errorf("%q does not pass", reply)
		}
		for range 20 {
			var pieces [][]byte
			for rest := []byte(reply); len(rest) > 0; {
				n := 1 + random.IntN(min(len(rest), 64<<10))
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			if redisstore.Framing(pieces...) != want {
				t.Errorf("%.60q: whole %t, in %d pieces %t", reply, want, len(pieces), !want)
			}
		}
	}
}
