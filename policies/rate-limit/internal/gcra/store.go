package gcra

import (
	"container/heap"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"policyengine.dev/sdk/policy"
)

// Key names whose rate is counted. It is a keyed hash, so that long values cost no
// memory and nobody can choose values that collide. Make one with [Store.Key].
type Key [2]uint64

// shardCount is how many parts a store has, each with a lock of its own.
const shardCount = 64

// Store keeps the state of one limit: a number for each key that has used some of its
// burst. Keys that have all of it again can be forgotten, since they are as good as
// new. It is safe for concurrent use.
type Store struct {
	id    uint64
	clock policy.Clock
	began time.Time
	seeds [2]maphash.Seed
	// keys is the number of entries, those among them that a request is about to make.
	keys atomic.Int64
	// parts are made by the first request: of ten thousand limits few may be in use.
	parts atomic.Pointer[[shardCount]shard]
	// overflow is the entry that all keys share which found no room.
	overflow struct {
		mu    sync.Mutex
		entry entry
	}
}

type shard struct {
	mu      sync.Mutex
	entries map[Key]*entry
	// due has the entries by the time at which they were last known to end.
	due entryHeap
}

type entry struct {
	key Key
	tat moment
	// due is at most tat, in nanoseconds: it is brought up to date only when the
	// entry comes to the top of the heap.
	due int64
	// seen is when tat was noted from elsewhere, in nanoseconds; 0 where it was
	// counted here.
	seen int64
}

// storeIDs orders stores, so that locks of several are always taken in one order.
var storeIDs atomic.Uint64

// NewStore returns an empty store that tells time by clock.
func NewStore(clock policy.Clock) *Store {
	return &Store{id: storeIDs.Add(1), clock: clock, began: clock.Now(), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// shards are the parts of the store.
func (s *Store) shards() *[shardCount]shard {
	if all := s.parts.Load(); all != nil {
		return all
	}
	s.parts.CompareAndSwap(nil, new([shardCount]shard))
	return s.parts.Load()
}

// Key returns the key for text.
func (s *Store) Key(text []byte) Key {
	return Key{maphash.Bytes(s.seeds[0], text), maphash.Bytes(s.seeds[1], text)}
}

// Len is the number of keys that are kept.
func (s *Store) Len() int { return int(s.keys.Load()) }

// now is the time since the store was made. It does not jump when the system's clock
// is set.
func (s *Store) now() int64 { return int64(s.clock.Now().Sub(s.began)) }

// reserve counts one more key, and reports whether there is room for it. own is the
// key's shard, which is locked.
func (s *Store) reserve(own *shard, maxKeys int) bool {
	if s.keys.Add(1) <= int64(maxKeys) {
		return true
	}
	s.keys.Add(-1)
	now := s.now()
	if own.forget(now) {
		return true
	}
	all := s.shards()
	for i := range all {
		other := &all[i]
		// A shard that is locked is passed over: to wait for it could deadlock.
		if other == own || !other.mu.TryLock() {
			continue
		}
		forgotten := other.forget(now)
		other.mu.Unlock()
		if forgotten {
			return true
		}
	}
	return false
}

func (h *shard) add(e *entry) {
	e.due = e.tat.ns
	if h.entries == nil {
		h.entries = map[Key]*entry{}
	}
	h.entries[e.key] = e
	heap.Push(&h.due, e)
}

// forget drops the entry that ends first if it has ended, and reports whether it did.
// Entries whose end has moved since they were put into the heap are moved on the way;
// each move was caused by a request.
func (h *shard) forget(now int64) bool {
	for len(h.due) > 0 {
		first := h.due[0]
		if first.due > now {
			return false
		}
		if end := first.tat.ceil(); end > now {
			first.due = end
			heap.Fix(&h.due, 0)
			continue
		}
		heap.Pop(&h.due)
		delete(h.entries, first.key)
		return true
	}
	return false
}

// entryHeap is a heap by due.
type entryHeap []*entry

func (h entryHeap) Len() int           { return len(h) }
func (h entryHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h entryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *entryHeap) Push(x any)        { *h = append(*h, x.(*entry)) }
func (h *entryHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
