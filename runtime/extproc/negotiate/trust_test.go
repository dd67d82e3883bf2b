package negotiate_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/peer"

	"policyengine.dev/runtime/extproc/negotiate"
)

// since is when filters are found to be untrue here.
var since = time.Unix(1_700_000_000, 0)

// connect returns a tracked connection and the context of a stream on it.
func connect(t testing.TB) (net.Conn, context.Context) {
	t.Helper()
	client, server := net.Pipe()
	c := negotiate.Track(server)
	t.Cleanup(func() {
		client.Close()
		c.Close()
	})
	return c, peer.NewContext(context.Background(), &peer.Peer{Addr: c.RemoteAddr()})
}

// TestFindings proves that a finding holds for its connection and stamp and for no
// other, and that it ends with the connection.
func TestFindings(t *testing.T) {
	var l negotiate.Ledger
	conn, one := connect(t)
	_, two := connect(t)
	if f, first := l.Find(one, &negotiate.Finding{Stamp: "v1", Since: since, Route: "route", Problem: "problem"}); !first || f.Stamp != "v1" || f.Route != "route" || f.Problem != "problem" || !f.Since.Equal(since) || f.Connection == "" {
		t.Errorf("the finding is %+v, the first: %t", f, first)
	}
	if f, first := l.Find(one, &negotiate.Finding{Stamp: "v1", Since: since, Route: "other", Problem: "other"}); first || f.Route != "route" {
		t.Errorf("a second finding took the place of the first: %+v", f)
	}
	for _, tc := range []struct {
		name  string
		ctx   context.Context
		stamp string
		want  bool
	}{
		{"the same stamp on the same connection", one, "v1", true},
		{"another stamp", one, "v1 routing", false},
		{"another connection", two, "v1", false},
		{"a connection that is not tracked", context.Background(), "v1", false},
	} {
		if got := l.Distrusts(tc.ctx, tc.stamp); got != tc.want {
			t.Errorf("%s: distrusted: %t, want %t", tc.name, got, tc.want)
		}
	}
	if n := len(l.Findings()); n != 1 {
		t.Errorf("%d findings, want 1", n)
	}
	conn.Close()
	if n := len(l.Findings()); n != 0 {
		t.Errorf("%d findings once the connection is closed", n)
	}
}

// TestUntracked proves that findings on connections that cannot be told apart hold for
// all of them.
func TestUntracked(t *testing.T) {
	var l negotiate.Ledger
	l.Find(context.Background(), &negotiate.Finding{Stamp: "", Since: since, Route: "route", Problem: "problem"})
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{Port: 1}})
	if !l.Distrusts(ctx, "") || len(l.Findings()) != 1 {
		t.Error("the finding does not count")
	}
}

// TestBounds proves that a connection with ever new stamps is distrusted as a whole,
// and that connections that have gone are not kept.
func TestBounds(t *testing.T) {
	var l negotiate.Ledger
	_, ctx := connect(t)
	for i := range 1000 {
		l.Find(ctx, &negotiate.Finding{Stamp: fmt.Sprint(i), Since: since, Route: "route", Problem: "problem"})
	}
	if n := len(l.Findings()); n != 64 {
		t.Errorf("%d findings are kept of one connection, want 64", n)
	}
	if !l.Distrusts(ctx, "never seen") {
		t.Error("a stamp beyond the bound is trusted")
	}
	for range 1000 {
		conn, ctx := connect(t)
		l.Find(ctx, &negotiate.Finding{Stamp: "v1", Since: since, Route: "route", Problem: "problem"})
		conn.Close()
	}
	if n := len(l.Findings()); n != 64 {
		t.Errorf("%d findings, of connections that are closed", n-64)
	}
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	var l negotiate.Ledger
	var firsts sync.Map
	conn, ctx := connect(t)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 200 {
				stamp := fmt.Sprint(i % 10)
				l.Distrusts(ctx, stamp)
				if _, first := l.Find(ctx, &negotiate.Finding{Stamp: stamp, Since: since, Route: "route", Problem: "problem"}); first {
					if _, twice := firsts.LoadOrStore(stamp, g); twice {
						t.Errorf("stamp %s has two first findings", stamp)
					}
				}
				l.Findings()
			}
		})
	}
	all.Wait()
	conn.Close()
}

// TestTrustAllocates proves that to ask costs nothing, with findings and without.
func TestTrustAllocates(t *testing.T) {
	var l negotiate.Ledger
	_, ctx := connect(t)
	ask := func() { l.Distrusts(ctx, "v1 timeout=1s") }
	if n := testing.AllocsPerRun(100, ask); n != 0 {
		t.Errorf("%v allocations without a finding", n)
	}
	l.Find(ctx, &negotiate.Finding{Stamp: "v1", Since: since, Route: "route", Problem: "problem"})
	if n := testing.AllocsPerRun(100, ask); n != 0 {
		t.Errorf("%v allocations with one", n)
	}
}
