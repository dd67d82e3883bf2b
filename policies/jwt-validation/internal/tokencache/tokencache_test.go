package tokencache_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"policyengine.dev/policies/jwt-validation/internal/tokencache"
)

var start = time.Unix(1_000_000_000, 0)

func get[V any](c *tokencache.Cache[V], token string, now time.Time) (V, bool) {
	return c.Get(c.Hash(token), token, now)
}

func put[V any](c *tokencache.Cache[V], token string, value V, size int, now, until time.Time) {
	c.Put(c.Hash(token), token, value, size, now, until)
}

func TestGetAndPut(t *testing.T) {
	c := tokencache.New[int](100, 1<<20)
	if _, ok := get(c, "a", start); ok {
		t.Error("something is in an empty cache")
	}
	put(c, "a", 1, 10, start, start.Add(time.Minute))
	put(c, "b", 2, 10, start, start.Add(time.Minute))
	put(c, "a", 3, 10, start, start.Add(time.Minute))
	for token, want := range map[string]int{"a": 3, "b": 2} {
		if got, ok := get(c, token, start); !ok || got != want {
			t.Errorf("%s: %d, %v; want %d", token, got, ok, want)
		}
	}
	if _, ok := get(c, "aa", start); ok {
		t.Error("another token was found")
	}
	if c.Len() != 2 {
		t.Errorf("%d entries, want 2", c.Len())
	}
}

// Two tokens with the same hash are two tokens.
func TestEqualHashes(t *testing.T) {
	c := tokencache.New[int](100, 1<<20)
	hash := c.Hash("a")
	for i, token := range []string{"a", "b", "c"} {
		c.Put(hash, token, i, 10, start, start.Add(time.Minute))
	}
	for i, token := range []string{"a", "b", "c"} {
		if got, ok := c.Get(hash, token, start); !ok || got != i {
			t.Errorf("%s: %d, %v; want %d", token, got, ok, i)
		}
	}
	if _, ok := c.Get(hash, "d", start); ok {
		t.Error("another token with the same hash was found")
	}
}

// A token that is a piece of something large does not keep that in memory.
func TestTokenIsCopied(t *testing.T) {
	c := tokencache.New[int](100, 1<<20)
	large := strings.Repeat("x", 64<<20)
	put(c, large[:100], 1, 10, start, start.Add(time.Minute))
	freed := make(chan struct{})
	runtime.AddCleanup(unsafe.StringData(large), func(c chan struct{}) { close(c) }, freed)
	large = ""
	for deadline := time.Now().Add(10 * time.Second); ; runtime.GC() {
		select {
		case <-freed:
			runtime.KeepAlive(c)
			return
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("the string around the token is still there")
		}
	}
}

func TestTime(t *testing.T) {
	c := tokencache.New[int](100, 1<<20)
	until := start.Add(time.Minute)
	put(c, "a", 1, 10, start, until)
	put(c, "over", 1, 10, start, start)
	for name, d := range map[string]struct {
		now  time.Time
		want bool
	}{
		"at the start":        {start, true},
		"just before the end": {until.Add(-1), true},
		"at the end":          {until, false},
		"long after":          {until.Add(time.Hour), false},
		"before it was known": {start.Add(-1), false},
	} {
		if _, ok := get(c, "a", d.now); ok != d.want {
			t.Errorf("%s: found %v, want %v", name, ok, d.want)
		}
	}
	if _, ok := get(c, "over", start); ok {
		t.Error("a value whose time was over was kept")
	}
}

// However many tokens come, entries and bytes stay within their bounds.
func TestBounds(t *testing.T) {
	for _, c := range []struct{ entries, bytes, size int }{{1, 1 << 20, 100}, {7, 1 << 20, 100}, {8, 1 << 20, 100}, {1000, 1 << 30, 100}, {1000, 1 << 16, 1000}, {1 << 20, 4000, 100}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			cache := tokencache.New[int](c.entries, c.bytes)
			kept := 0
			for i := range 5000 {
				token := fmt.Sprint("token ", i)
				put(cache, token, i, c.size, start, start.Add(time.Minute))
				if v, ok := get(cache, token, start); ok && v == i {
					kept++
				}
				if i%97 != 0 {
					continue
				}
				if n := cache.Len(); n > max(c.entries, 8) {
					t.Fatalf("%d entries, want at most %d", n, c.entries)
				}
				if n := cache.Bytes(); n > c.bytes {
					t.Fatalf("%d bytes, want at most %d", n, c.bytes)
				}
			}
			if kept != 5000 && c.bytes/16 > c.size+200 {
				t.Errorf("%d of 5000 tokens were there right after they were put", kept)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	c := tokencache.New[int](100, 1000)
	put(c, "a", 1, 100, start, start.Add(time.Minute))
	put(c, "b", 1, 1000, start, start.Add(time.Minute))
	put(c, strings.Repeat("c", 1000), 1, 0, start, start.Add(time.Minute))
	if _, ok := get(c, "a", start); !ok || c.Len() != 1 {
		t.Error("what does not fit has thrown out what does")
	}
}

// What is read again and again stays while what is not goes.
func TestSecondChance(t *testing.T) {
	for name, bytes := range map[string]int{"for entries": 1 << 30, "for bytes": 16 * 20 * 1000} {
		t.Run("room "+name, func(t *testing.T) {
			c := tokencache.New[int](1<<12, bytes)
			put(c, "often", 1, 500, start, start.Add(time.Minute))
			for i := range 20_000 {
				if _, ok := get(c, "often", start); !ok {
					t.Fatalf("gone after %d others", i)
				}
				put(c, fmt.Sprint(i), i, 500, start, start.Add(time.Minute))
			}
		})
	}
}

// Where every token of a set is read all the time, a new one finds a place.
func TestAllAreRead(t *testing.T) {
	c := tokencache.New[int](8, 1<<20) // one set
	for i := range 100 {
		put(c, fmt.Sprint(i), i, 10, start, start.Add(time.Hour))
		if _, ok := get(c, fmt.Sprint(i), start); !ok {
			t.Errorf("token %d has found no place", i)
		}
		for j := range i {
			get(c, fmt.Sprint(j), start)
		}
	}
	if c.Len() != 8 {
		t.Errorf("%d tokens, want 8", c.Len())
	}
}

// The place of a token whose time is over is taken before that of another.
func TestExpiredGoFirst(t *testing.T) {
	c := tokencache.New[int](8, 1<<20) // one set
	for i := range 8 {
		until := start.Add(time.Hour)
		if i == 5 {
			until = start.Add(time.Second)
		}
		put(c, fmt.Sprint(i), i, 10, start, until)
	}
	later := start.Add(time.Minute)
	put(c, "new", 8, 10, later, start.Add(time.Hour))
	for i := range 8 {
		if _, ok := get(c, fmt.Sprint(i), later); ok != (i != 5) {
			t.Errorf("token %d: found %v", i, ok)
		}
	}
}

func TestNoCache(t *testing.T) {
	for _, c := range []*tokencache.Cache[int]{nil, tokencache.New[int](0, 1000), tokencache.New[int](1000, 0), tokencache.New[int](-1, -1)} {
		put(c, "a", 1, 1, start, start.Add(time.Minute))
		if _, ok := get(c, "a", start); ok || c.Len() != 0 || c.Bytes() != 0 {
			t.Error("a cache without room keeps something")
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	c := tokencache.New[string](64, 1<<14)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 2000 {
				token := fmt.Sprint((i*7 + j) % 200)
				if v, ok := get(c, token, start); ok && v != "value of "+token {
					t.Errorf("%q has the value %q", token, v)
				}
				put(c, token, "value of "+token, 10, start, start.Add(time.Minute))
			}
		})
	}
	wg.Wait()
	if c.Len() > 64 || c.Bytes() > 1<<14 {
		t.Errorf("%d entries, %d bytes", c.Len(), c.Bytes())
	}
}

// The bytes that are counted are those that are there.
func TestBytesAddUp(t *testing.T) {
	c := tokencache.New[int](8, 1<<20)
	for range 3 {
		for i := range 100 {
			put(c, fmt.Sprintf("%03d", i), i, 50, start, start.Add(time.Minute))
		}
	}
	c1 := tokencache.New[int](8, 1<<20)
	put(c1, "000", 0, 50, start, start.Add(time.Minute))
	if got, want := c.Bytes(), c.Len()*c1.Bytes(); got != want {
		t.Errorf("%d bytes in %d entries, want %d", got, c.Len(), want)
	}
}

func TestGetAllocatesNothing(t *testing.T) {
	c := tokencache.New[*int](1000, 1<<20)
	token := strings.Repeat("x", 800)
	put(c, token, new(int), 100, start, start.Add(time.Minute))
	if n := testing.AllocsPerRun(100, func() { get(c, token, start); get(c, "y", start) }); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}

func BenchmarkGet(b *testing.B) {
	c := tokencache.New[*int](1<<12, 1<<24)
	token := strings.Repeat("x", 800)
	put(c, token, new(int), 100, start, start.Add(time.Minute))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, ok := get(c, token, start); !ok {
				b.Error("not found")
			}
		}
	})
}
