// Package memory bounds what the bodies of all requests in flight take together.
package memory

import "sync/atomic"

// Account counts the bytes of bodies that are in memory, against a limit. Whoever
// buffers a body takes its size first and gives it back when the body is let go of.
// The nil Account has no limit and counts nothing. Safe for concurrent use.
type Account struct {
	limit   int64
	used    atomic.Int64
	peak    atomic.Int64
	refused atomic.Uint64
	_       [32]byte // the counts change together, and nothing else on their cache line
}

// NewAccount returns an account with a limit in bytes.
func NewAccount(limit int64) *Account { return &Account{limit: limit} }

// Take takes n bytes and reports true, or reports false where they are over the limit
// together with what is in use. n must not be negative.
func (a *Account) Take(n int64) bool {
	if a == nil || n == 0 {
		return true
	}
	used := a.used.Add(n)
	if used > a.limit {
		a.used.Add(-n)
		return false
	}
	a.raise(used)
	return true
}

// Add takes n bytes that are in memory already, over the limit or not.
func (a *Account) Add(n int64) {
	if a == nil || n == 0 {
		return
	}
	a.raise(a.used.Add(n))
}

// Give gives n bytes back.
func (a *Account) Give(n int64) {
	if a != nil && n != 0 {
		a.used.Add(-n)
	}
}

// Fits reports whether n bytes could be taken now.
func (a *Account) Fits(n int64) bool { return a == nil || n <= a.limit-a.used.Load() }

// Refuse counts a request or a response that was refused for want of memory.
func (a *Account) Refuse() {
	if a != nil {
		a.refused.Add(1)
	}
}

// raise notes the most that was in use.
func (a *Account) raise(used int64) {
	for p := a.peak.Load(); used > p; p = a.peak.Load() {
		if a.peak.CompareAndSwap(p, used) {
			return
		}
	}
}

// Limit is what may be in use, in bytes; 0 for the nil Account.
func (a *Account) Limit() int64 {
	if a == nil {
		return 0
	}
	return a.limit
}

// Used is what is in use now, in bytes.
func (a *Account) Used() int64 {
	if a == nil {
		return 0
	}
	return a.used.Load()
}

// Refused counts the calls of Refuse.
func (a *Account) Refused() uint64 {
	if a == nil {
		return 0
	}
	return a.refused.Load()
}

// TakePeak returns the most that was in use since the last call, in bytes.
func (a *Account) TakePeak() int64 {
	if a == nil {
		return 0
	}
	return a.peak.Swap(a.used.Load())
}
