package gcra

import "time"

// Full says what happens to a key that a full store has no room for.
type Full uint8

// The ways to treat a key that a full store has no room for.
const (
	// Share has all such keys share the rate of one key.
	Share Full = iota
	// Refuse refuses their requests.
	Refuse
	// Allow allows their requests without counting them.
	Allow
)

// MaxRequests is the largest number of requests that [Take] decides together.
const MaxRequests = 8

// Request asks a store for units of one key.
type Request struct {
	Store *Store
	Key   Key
	Rate  Rate
	// Cost is the number of units. 0 asks what is left and takes nothing.
	Cost uint64
	// MaxKeys bounds the number of keys in the store, and WhenFull says what
	// happens beyond it.
	MaxKeys  int
	WhenFull Full

	// Decision is the answer. Overflow says that the store had no room for the key.
	Decision Decision
	Overflow bool

	shard    *shard
	entry    *entry
	reserved bool
	shared   bool
	next     moment
}

// Take decides all requests together: if every one is allowed, each is charged, and
// otherwise none is. It fills in their decisions and reports whether all are allowed.
// There are at most [MaxRequests], and no two of one store. It allocates nothing for
// keys that a store knows already.
func Take(requests []Request) bool {
	// Locks are taken in the order of the stores: first those of the shards, then,
	// where a key has no room, those of the shared entries.
	var order [MaxRequests]int
	for i := range requests {
		at := i
		for ; at > 0 && requests[order[at-1]].Store.id > requests[i].Store.id; at-- {
			order[at] = order[at-1]
		}
		order[at] = i
	}
	for _, i := range order[:len(requests)] {
		r := &requests[i]
		r.shard = &r.Store.shards()[r.Key[0]%shardCount]
		r.shard.mu.Lock()
	}
	allowed := true
	for _, i := range order[:len(requests)] {
		requests[i].find()
		requests[i].decide()
		allowed = allowed && requests[i].Decision.Allowed
	}
	for i := range requests {
		requests[i].finish(allowed)
	}
	return allowed
}

// find looks the key up, and reserves room for it if it is new.
func (r *Request) find() {
	if r.entry = r.shard.entries[r.Key]; r.entry != nil || r.Cost == 0 {
		return
	}
	if r.reserved = r.Store.reserve(r.shard, r.MaxKeys); r.reserved {
		return
	}
	r.Overflow = true
	if r.WhenFull == Share {
		r.shared = true
		r.Store.overflow.mu.Lock()
		r.entry = &r.Store.overflow.entry
	}
}

func (r *Request) decide() {
	switch {
	case r.Overflow && r.WhenFull == Refuse:
		r.Decision = Decision{RetryAfter: time.Second}
		return
	case r.Overflow && r.WhenFull == Allow:
		r.Decision = Decision{Allowed: true, Remaining: r.Rate.burst}
		return
	}
	var tat moment
	if r.entry != nil {
		tat = r.entry.tat
	}
	r.Decision, r.next = r.Rate.decide(tat, r.Store.now(), r.Cost)
}

// finish charges the request if it is told to, and unlocks what it locked.
func (r *Request) finish(charge bool) {
	switch {
	case charge && r.reserved:
		r.shard.add(&entry{key: r.Key, tat: r.next})
	case charge && r.entry != nil:
		r.entry.tat, r.entry.seen = r.next, 0
	case r.reserved:
		r.Store.keys.Add(-1)
	}
	if r.shared {
		r.Store.overflow.mu.Unlock()
	}
	r.shard.mu.Unlock()
}
