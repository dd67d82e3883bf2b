package redisstore

import "net"

// Waiting is how many calls wait for a round trip.
func Waiting(s *Store) int {
	s.batches.mu.Lock()
	defer s.batches.mu.Unlock()
	return len(s.batches.waiting)
}

// Batches is how many round trips there were.
func Batches(s *Store) int {
	s.batches.mu.Lock()
	defer s.batches.mu.Unlock()
	return s.batches.sent
}

// Guarded bounds what a connection says.
func Guarded(c net.Conn) net.Conn { return guarded(c) }

// Framing reports whether replies in these pieces pass, and how deep they have nested.
func Framing(pieces ...[]byte) bool {
	var f framing
	for _, p := range pieces {
		if !f.pass(p) {
			return false
		}
	}
	return true
}
