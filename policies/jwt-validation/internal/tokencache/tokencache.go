// Package tokencache remembers what verifying a token has shown, within bounds of
// number, memory and time.
//
// Reading takes no lock and allocates nothing. A token is found by a hash with a
// random seed and then compared whole: two tokens are never taken for each other,
// nobody outside can aim at one place of the table, and that costs a tenth of a
// cryptographic hash.
package tokencache

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ways is the number of places where one token may be.
const ways = 8

// maxShards bounds how many writers can write at the same time.
const maxShards = 16

// overhead is what an entry takes beside token and value; leastBytes what one with a
// token takes at the least.
const (
	overhead   = 128
	leastBytes = 512
)

// Cache holds values of type V by token. Make one with [New]; a nil cache is empty
// and stays so. Safe for concurrent use.
type Cache[V any] struct {
	seed   maphash.Seed
	shards []shard[V]
}

// shard is a part of the cache with its own lock, for writers only.
type shard[V any] struct {
	// sets is a table of sets of places; a token's hash says which set is its.
	sets [][ways]atomic.Pointer[entry[V]]

	mu    sync.Mutex
	bytes int
	limit int
	hand  int // the place that is checked next when memory has to be freed
}

type entry[V any] struct {
	hash        Hash
	token       string
	value       V
	from, until time.Time
	bytes       int
	// used says that the entry was read since the last time that a place was
	// looked for.
	used atomic.Bool
}

// New returns a cache of at most entries values (or eight, where that is more), and
// of at most bytes bytes by the sizes that [Cache.Put] is told. It is nil, a cache
// that keeps nothing, where either is not positive.
func New[V any](entries, bytes int) *Cache[V] {
	if entries < 1 || bytes < 1 {
		return nil
	}
	// Places that memory leaves empty would only be in the way of free.
	entries = min(entries, bytes/leastBytes)
	shards := 1
	for shards < maxShards && entries/(2*shards) >= 4*ways {
		shards *= 2
	}
	c := &Cache[V]{seed: maphash.MakeSeed(), shards: make([]shard[V], shards)}
	for i := range c.shards {
		c.shards[i].limit = bytes / shards
		c.shards[i].sets = make([][ways]atomic.Pointer[entry[V]], max(entries/shards/ways, 1))
	}
	return c
}

// Hash is where a token belongs in one cache.
type Hash uint64

// Hash returns the token's hash, for Get and Put.
func (c *Cache[V]) Hash(token string) Hash {
	if c == nil {
		return 0
	}
	return Hash(maphash.String(c.seed, token))
}

// Get returns the value that was put for token, whose hash has to be given, and
// whether it is there and may be used now.
func (c *Cache[V]) Get(hash Hash, token string, now time.Time) (value V, ok bool) {
	if c == nil {
		return value, false
	}
	_, set := c.place(hash)
	for i := range set {
		e := set[i].Load()
		if e == nil || e.hash != hash || e.token != token {
			continue
		}
		if now.Before(e.from) || !now.Before(e.until) {
			return value, false
		}
		if !e.used.Load() {
			e.used.Store(true)
		}
		return e.value, true
	}
	return value, false
}

// Put keeps value for token from now until the given time, instead of what was
// there. size is about how many bytes value takes. It keeps a copy of token. What
// does not fit is not kept.
func (c *Cache[V]) Put(hash Hash, token string, value V, size int, now, until time.Time) {
	if c == nil || !now.Before(until) {
		return
	}
	s, set := c.place(hash)
	e := &entry[V]{hash: hash, value: value, from: now, until: until, bytes: len(token) + size + overhead}
	if e.bytes > s.limit {
		return
	}
	// The token may be a piece of a much longer string.
	e.token = strings.Clone(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(victim(set, e, now), e)
	for s.bytes > s.limit {
		s.free(e, now)
	}
}

// Bytes is what the values that are kept take, by the sizes that Put was told.
func (c *Cache[V]) Bytes() int {
	if c == nil {
		return 0
	}
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.bytes
		s.mu.Unlock()
	}
	return n
}

// Len is the number of values that are kept, those included whose time is over.
func (c *Cache[V]) Len() int {
	if c == nil {
		return 0
	}
	n := 0
	for i := range c.shards {
		for j := range c.shards[i].sets {
			for k := range c.shards[i].sets[j] {
				if c.shards[i].sets[j][k].Load() != nil {
					n++
				}
			}
		}
	}
	return n
}

func (c *Cache[V]) place(hash Hash) (*shard[V], *[ways]atomic.Pointer[entry[V]]) {
	s := &c.shards[uint64(hash)%uint64(len(c.shards))]
	return s, &s.sets[(uint64(hash)>>32)%uint64(len(s.sets))]
}

// victim is the place in set where e goes: its token's own, an empty one, one whose
// time is over, or one that nobody has read lately. Where all have been read it is
// any, and all have to be read again before that counts once more.
func victim[V any](set *[ways]atomic.Pointer[entry[V]], e *entry[V], now time.Time) *atomic.Pointer[entry[V]] {
	const empty, over, unread, none = 1, 2, 3, 4
	best, rank := &set[e.hash%ways], none
	for i := range set {
		old := set[i].Load()
		r := none
		switch {
		case old == nil:
			r = empty
		case old.hash == e.hash && old.token == e.token:
			return &set[i]
		case !now.Before(old.until):
			r = over
		case !old.used.Load():
			r = unread
		}
		if r < rank {
			best, rank = &set[i], r
		}
	}
	if rank == none {
		for i := range set {
			set[i].Load().used.Store(false)
		}
	}
	return best
}

// store puts e, or nothing, into a place. s.mu is held.
func (s *shard[V]) store(at *atomic.Pointer[entry[V]], e *entry[V]) {
	if old := at.Swap(e); old != nil {
		s.bytes -= old.bytes
	}
	if e != nil {
		s.bytes += e.bytes
	}
}

// free looks at the next place and empties it, unless it has e, or was read since
// the last time round. s.mu is held.
func (s *shard[V]) free(e *entry[V], now time.Time) {
	at := &s.sets[s.hand/ways][s.hand%ways]
	s.hand = (s.hand + 1) % (len(s.sets) * ways)
	old := at.Load()
	if old == nil || old == e {
		return
	}
	if now.Before(old.until) && old.used.Swap(false) {
		return
	}
	s.store(at, nil)
}
