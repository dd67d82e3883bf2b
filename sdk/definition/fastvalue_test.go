package definition

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzFastValue proves that what the fast way takes is valid, and the same as the slow way makes of it.
func FuzzFastValue(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, ` { "a" : [ 1 , -0.5e3 , true , false , null , "x" ] } `, `{"a":1,"a":2}`, `"\u00e9\ud83d\ude00"`, `"\ud800"`, "\"\xff\"", `01`, `1e400`,
		`[1,]`, `{"a"}`, `"a` + "\n" + `"`, `{"a":{"b":{"c":[[[]]]}}}`, `9007199254740993`, `1 2`, `"\x"`, `-`, `+1`, `"` + "\x7f" + `"`, "\ufeff{}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fast, ok := fastValue(data)
		slow, problems := slowValue(data)
		if ok && len(problems) > 0 {
			t.Fatalf("taken, with the problems %v", problems)
		}
		if ok && !cmp.Equal(fast, slow) {
			t.Fatalf("the values differ: %s", cmp.Diff(slow, fast))
		}
	})
}

// TestFastValueIsUsed proves that ordinary parameters take the fast way.
func TestFastValueIsUsed(t *testing.T) {
	for _, data := range []string{`{}`, `{"a":[1,2.5,"x",{"b":null}],"c":true}`, ` {"a" : "\n"} `, `{"a":9007199254740993}`} {
		if _, ok := fastValue([]byte(data)); !ok {
			t.Errorf("%s is left to the slow way", data)
		}
	}
}

func BenchmarkValue(b *testing.B) {
	data := []byte(`{"limits":[{"name":"tenant","rate":1000000,"window":"1s","key":[{"principal":true}]}],"responseHeaders":"always"}`)
	b.Run("fast", func(b *testing.B) {
		for b.Loop() {
			fastValue(data)
		}
	})
	b.Run("slow", func(b *testing.B) {
		for b.Loop() {
			slowValue(data)
		}
	})
}
