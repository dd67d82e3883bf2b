package negotiate

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/peer"
)

// maxConnectionStamps bounds the stamps that are told apart on one connection. Beyond it, nothing
// is relied on for any stamp of the connection.
const maxConnectionStamps = 64

// Connection is one connection of a proxy's. It is the remote address of the
// connection that grpc serves ([Track]), and by this known to every stream. Safe for
// concurrent use.
type Connection struct {
	net.Addr
	closed atomic.Bool
	// found has the findings by stamp; nil where there are none.
	found atomic.Pointer[map[string]*Finding]
}

// Finding is what is known against a filter. It is not modified once it counts.
type Finding struct {
	// Connection is the remote address, and Stamp what the streams carry: empty
	// for a filter without a stamp.
	Connection, Stamp string
	// Since is when it was found.
	Since time.Time
	// Route is the route of the request that showed it, and Problem what it
	// showed.
	Route, Problem string
}

// tracked is a connection that says who it is.
type tracked struct {
	net.Conn
	connection *Connection
}

// Track returns c with a [Connection] as its remote address.
func Track(c net.Conn) net.Conn {
	return &tracked{c, &Connection{Addr: c.RemoteAddr()}}
}

// RemoteAddr implements net.Conn.
func (t *tracked) RemoteAddr() net.Addr { return t.connection }

// Close implements net.Conn.
func (t *tracked) Close() error {
	t.connection.closed.Store(true)
	return t.Conn.Close()
}

// finding is what is known against the stamp on this connection, or nil.
func (c *Connection) finding(stamp string) *Finding {
	found := c.found.Load()
	if found == nil {
		return nil
	}
	if f := (*found)[stamp]; f != nil || len(*found) < maxConnectionStamps {
		return f
	}
	for _, f := range *found {
		return f
	}
	return nil
}

// Ledger has the findings of all connections. The zero value is empty. Safe for
// concurrent use.
type Ledger struct {
	// others stands for all connections that are not tracked.
	others Connection

	mu sync.Mutex
	// distrusted are the connections with findings, closed ones too until the
	// next look.
	distrusted []*Connection
}

// connection is that of a stream.
func (l *Ledger) connection(ctx context.Context) *Connection {
	if p, ok := peer.FromContext(ctx); ok {
		if c, ok := p.Addr.(*Connection); ok {
			return c
		}
	}
	return &l.others
}

// Distrusts reports whether something was found against filters with the stamp on the
// connection of the stream with this context.
func (l *Ledger) Distrusts(ctx context.Context, stamp string) bool {
	return l.connection(ctx).finding(stamp) != nil
}

// Find notes a finding on the connection of the stream with this context, which it fills
// in. It returns the finding that counts from now on, and whether it is this one: the
// first for a connection and stamp.
func (l *Ledger) Find(ctx context.Context, f *Finding) (counts *Finding, first bool) {
	c, stamp := l.connection(ctx), f.Stamp
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := c.finding(stamp); old != nil {
		return old, false
	}
	if c.Addr != nil {
		f.Connection = c.Addr.String()
	}
	now := map[string]*Finding{stamp: f}
	if old := c.found.Load(); old != nil {
		for s, f := range *old {
			now[s] = f
		}
	} else {
		l.forget()
		l.distrusted = append(l.distrusted, c)
	}
	c.found.Store(&now)
	return f, true
}

// forget drops connections that are closed.
func (l *Ledger) forget() {
	open := l.distrusted[:0]
	for _, c := range l.distrusted {
		if !c.closed.Load() {
			open = append(open, c)
		}
	}
	clear(l.distrusted[len(open):])
	l.distrusted = open
}

// Findings are those on connections that are open, the oldest connection first. Of one
// connection they are in no order.
func (l *Ledger) Findings() []*Finding {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget()
	var all []*Finding
	for _, c := range l.distrusted {
		for _, f := range *c.found.Load() {
			all = append(all, f)
		}
	}
	return all
}
