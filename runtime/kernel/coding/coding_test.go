package coding_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"go.uber.org/goleak"

	"policyengine.dev/runtime/kernel/coding"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parse(t testing.TB, values ...string) coding.Codings {
	t.Helper()
	cs, err := coding.Parse(slices.Values(values))
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

var text = []byte(strings.Repeat("to be or not to be, ", 500))

func TestThereAndBack(t *testing.T) {
	for _, tt := range []struct {
		values []string
		plain  bool
	}{
		{values: []string{"gzip"}},
		{values: []string{"X-GZIP"}},
		{values: []string{"deflate"}},
		{values: []string{"br"}},
		{values: []string{"zstd"}},
		{values: []string{" gzip ,\tbr"}},
		{values: []string{"zstd", "gzip"}},
		{values: []string{"identity"}, plain: true},
		{values: []string{""}, plain: true},
		{plain: true},
	} {
		t.Run(strings.Join(tt.values, "+"), func(t *testing.T) {
			cs := parse(t, tt.values...)
			for _, body := range [][]byte{text, []byte("x"), {}} {
				before := bytes.Clone(body)
				encoded, err := cs.Encode(body)
				if err != nil {
					t.Fatal(err)
				}
				if tt.plain != bytes.Equal(encoded, body) || !bytes.Equal(body, before) {
					t.Errorf("%d bytes became %d", len(body), len(encoded))
				}
				plain, err := cs.Decode(encoded, int64(len(text)), nil)
				if err != nil || !bytes.Equal(plain, body) {
					t.Errorf("%d bytes came back as %d, %v", len(body), len(plain), err)
				}
			}
			if b, err := cs.Decode(nil, 1, nil); err != nil || len(b) != 0 {
				t.Errorf("an empty body became %q, %v", b, err)
			}
		})
	}
}

// TestOrder proves that the coding named last is undone first.
func TestOrder(t *testing.T) {
	encoded, err := parse(t, "gzip", "br").Encode(text)
	if err != nil {
		t.Fatal(err)
	}
	half, err := parse(t, "br").Decode(encoded, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := parse(t, "gzip").Decode(half, 1<<20, nil); err != nil || !bytes.Equal(plain, text) {
		t.Errorf("came back as %d bytes, %v", len(plain), err)
	}
}

func TestBareDeflate(t *testing.T) {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	w.Write(text)
	w.Close()
	if plain, err := parse(t, "deflate").Decode(b.Bytes(), 1<<20, nil); err != nil || !bytes.Equal(plain, text) {
		t.Errorf("came back as %d bytes, %v", len(plain), err)
	}
}

// TestBombs proves that a small body cannot become a large one, at any layer.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 8<<20)
	for _, name := range []string{"gzip", "deflate", "br", "zstd"} {
		bomb, err := parse(t, name).Encode(zeros)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(t, name).Decode(bomb, int64(len(zeros))-1, nil); !errors.Is(err, coding.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := parse(t, name).Decode(bomb, int64(len(zeros)), nil); err != nil || len(b) != len(zeros) {
			t.Errorf("%s at the limit: %v", name, err)
		}
		twice, err := parse(t, "gzip").Encode(bomb)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(t, name, "gzip").Decode(twice, 1<<10, nil); !errors.Is(err, coding.ErrTooLarge) {
			t.Errorf("%s within gzip: %v", name, err)
		}
	}
}

func TestNotDecodable(t *testing.T) {
	for _, name := range []string{"gzip", "deflate", "br", "zstd"} {
		good, err := parse(t, name).Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		for what, body := range map[string][]byte{"cut off": good[:len(good)/2], "another thing": []byte("plain text, no coding at all")} {
			if _, err := parse(t, name).Decode(body, 1<<20, nil); !errors.Is(err, coding.ErrMalformed) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	for _, value := range []string{"compress", "gzip, aes128gcm", "gzip,gzip,gzip"} {
		if _, err := coding.Parse(slices.Values([]string{value})); !errors.Is(err, coding.ErrUnknown) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// TestTrailingBytes proves that nothing can be put behind a body that a policy does
// not see, and that what the codings' own specifications let follow is seen.
func TestTrailingBytes(t *testing.T) {
	var bare bytes.Buffer
	w, _ := flate.NewWriter(&bare, 9)
	w.Write(text)
	w.Close()
	bodies := map[string][]byte{"deflate, bare": bare.Bytes()}
	for _, name := range []string{"gzip", "deflate", "br", "zstd"} {
		b, err := parse(t, name).Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		bodies[name] = b
	}
	for name, body := range bodies {
		kind, _, _ := strings.Cut(name, ",")
		for _, tail := range [][]byte{{0}, make([]byte, 600), []byte("and more"), body, bytes.Repeat([]byte("x"), 200_000)} {
			plain, err := parse(t, kind).Decode(append(bytes.Clone(body), tail...), 1<<20, nil)
			again := bytes.Equal(tail, body) && (name == "gzip" || name == "zstd")
			switch {
			case again && (err != nil || len(plain) != 2*len(text)):
				// RFC 1952, section 2.2, and RFC 8878, section 3.
				t.Errorf("%s twice became %d bytes, %v", name, len(plain), err)
			case !again && !errors.Is(err, coding.ErrMalformed):
				t.Errorf("%s and %d bytes became %d, %v", name, len(tail), len(plain), err)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"gzip", "deflate", "br", "zstd"} {
		b, err := parse(f, name).Encode(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, b)
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		cs, err := coding.Parse(slices.Values([]string{name}))
		if err != nil {
			return
		}
		const limit = 1 << 16
		plain, err := cs.Decode(body, limit, nil)
		if err != nil || len(cs) == 0 {
			return
		}
		if len(plain) > limit {
			t.Fatalf("%d bytes are over the limit", len(plain))
		}
		again, err := cs.Encode(plain)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := cs.Decode(again, limit, nil); err != nil || !bytes.Equal(back, plain) {
			t.Fatalf("%q came back as %q, %v", plain, back, err)
		}
	})
}

// TestMemoryIsAskedFor proves that memory is asked for before it is used, in all that
// there is of it, and that a body for which there is none is not decoded.
func TestMemoryIsAskedFor(t *testing.T) {
	plain := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, name := range []string{"gzip", "deflate", "br", "zstd"} {
		body, err := parse(t, name).Encode(plain)
		if err != nil {
			t.Fatal(err)
		}
		var taken int64
		got, err := parse(t, name).Decode(body, 1<<21, func(n int64) bool { taken += n; return true })
		if err != nil || taken < int64(cap(got)) || taken > 4*int64(len(plain)) {
			t.Errorf("%s: %d bytes were asked for, and %d are used, %v", name, taken, cap(got), err)
		}
		left := int64(len(plain) / 2)
		take := func(n int64) bool {
			left -= n
			return left >= 0
		}
		if _, err := parse(t, name).Decode(body, 1<<21, take); !errors.Is(err, coding.ErrNoMemory) {
			t.Errorf("%s, without memory: %v", name, err)
		}
		// What has failed is used again.
		if again, err := parse(t, name).Decode(body, 1<<21, nil); err != nil || !bytes.Equal(again, plain) {
			t.Errorf("%s, after that: %v", name, err)
		}
	}
}

// TestDecodersAreUsedAgain proves what a body costs that says how large it is: its plain
// bytes, and little more.
func TestDecodersAreUsedAgain(t *testing.T) {
	if raceEnabled {
		t.Skip("pools lose what they hold under the race detector")
	}
	plain := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	body, err := parse(t, "gzip").Encode(plain)
	if err != nil {
		t.Fatal(err)
	}
	cs := parse(t, "gzip")
	once := func() {
		if _, err := cs.Decode(body, 1<<21, nil); err != nil {
			t.Fatal(err)
		}
	}
	once()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const times = 20
	for range times {
		once()
	}
	runtime.ReadMemStats(&after)
	if got := float64(after.TotalAlloc-before.TotalAlloc) / times / float64(len(plain)); got > 1.05 {
		t.Errorf("%.2f times the plain size is allocated", got)
	}
}

// BenchmarkDecode compares a body that is decoded with the codec alone, into memory that
// is there already.
func BenchmarkDecode(b *testing.B) {
	var text bytes.Buffer
	for i := 0; text.Len() < 1_000_000; i++ {
		fmt.Fprintf(&text, `{"id": %d, "customer": "c-%06d", "amount": %d},`, i*7919, i*104729%1_000_000, i*31%10_000)
	}
	cs := parse(b, "gzip")
	body, err := cs.Encode(text.Bytes())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("body", func(b *testing.B) {
		b.SetBytes(int64(text.Len()))
		for b.Loop() {
			if _, err := cs.Decode(body, 1<<21, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("codec alone", func(b *testing.B) {
		b.SetBytes(int64(text.Len()))
		r, plain := new(gzip.Reader), make([]byte, text.Len())
		for b.Loop() {
			if err := r.Reset(bytes.NewReader(body)); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(r, plain); err != nil {
				b.Fatal(err)
			}
		}
	})
}
