package basicauth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// maxRemembered is how many passwords are remembered at the same time.
const maxRemembered = 10_000

// memory remembers which passwords were right, as hashes with a key of this process, so
// that it holds no password. Safe for concurrent use.
type memory struct {
	key  []byte
	keep time.Duration

	mu    sync.RWMutex
	until map[[sha256.Size]byte]time.Time
}

func newMemory(keep time.Duration, random io.Reader) (*memory, error) {
	m := &memory{key: make([]byte, sha256.Size), keep: keep, until: map[[sha256.Size]byte]time.Time{}}
	if _, err := io.ReadFull(random, m.key); err != nil {
		return nil, fmt.Errorf("reading random bytes: %w", err)
	}
	return m, nil
}

// sum covers the user's present hash, so that a new password ends what is remembered.
func (m *memory) sum(name, password string, h hash) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, m.key)
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(name)))
	mac.Write(length[:])
	mac.Write([]byte(name))
	binary.BigEndian.PutUint64(length[:], uint64(len(password)))
	mac.Write(length[:])
	mac.Write([]byte(password))
	mac.Write([]byte(h.text()))
	mac.Sum(sum[:0])
	return sum
}

func (m *memory) has(name, password string, h hash, now time.Time) bool {
	if m.keep == 0 {
		return false
	}
	sum := m.sum(name, password, h)
	m.mu.RLock()
	defer m.mu.RUnlock()
	until, ok := m.until[sum]
	return ok && now.Before(until)
}

func (m *memory) add(name, password string, h hash, now time.Time) {
	if m.keep == 0 {
		return
	}
	sum := m.sum(name, password, h)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.until) >= maxRemembered {
		m.makeRoom(now)
	}
	m.until[sum] = now.Add(m.keep)
}

// makeRoom drops what has run out, or else anything.
func (m *memory) makeRoom(now time.Time) {
	for sum, until := range m.until {
		if !now.Before(until) {
			delete(m.until, sum)
		}
	}
	for sum := range m.until {
		if len(m.until) < maxRemembered {
			return
		}
		delete(m.until, sum)
	}
}

// errBusy says that too many requests wait.
var errBusy = errors.New("too many passwords wait to be hashed")

// gate bounds how many passwords are hashed at the same time, and how many wait.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64
	most    int64
}

func newGate(concurrency, waiting int) *gate {
	return &gate{slots: make(chan struct{}, concurrency), most: int64(waiting)}
}

// enter waits for a slot, which leave gives back.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-g.slots }
	select {
	case g.slots <- struct{}{}:
		return leave, nil
	default:
	}
	if g.waiting.Add(1) > g.most {
		g.waiting.Add(-1)
		return nil, errBusy
	}
	defer g.waiting.Add(-1)
	select {
	case g.slots <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}
