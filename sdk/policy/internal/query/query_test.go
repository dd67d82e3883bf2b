package query_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/sdk/policy/internal/query"
)

func TestEdit(t *testing.T) {
	remove := func(name string) func(*query.Edit) { return func(e *query.Edit) { e.Remove(name) } }
	set := func(name, value string) func(*query.Edit) { return func(e *query.Edit) { e.Set(name, value) } }
	add := func(name, value string) func(*query.Edit) { return func(e *query.Edit) { e.Append(name, value) } }
	for _, tt := range []struct {
		name string
		// in and want begin with "?" where there is a query.
		in   string
		edit func(*query.Edit)
		want string
	}{
		{"the only parameter goes with its question mark", "?k=1", remove("k"), ""},
		{"the first of several", "?k=1&a=2", remove("k"), "?a=2"},
		{"one in the middle", "?a=1&k=2&b=3", remove("k"), "?a=1&b=3"},
		{"the last", "?a=1&k=2", remove("k"), "?a=1"},
		{"every one of the name", "?k=1&a=2&k=3&k", remove("k"), "?a=2"},
		{"a name without value", "?k", remove("k"), ""},
		{"an encoded name is the same name", "?%6b=1&a", remove("k"), "?a"},
		{"plus and %20 are a space", "?a+b=1&a%20b=2&c=3", remove("a b"), "?c=3"},
		{"another case is another name", "?K=1", remove("k"), "?K=1"},
		{"a name that cannot be decoded has no name", "?%zz=1&%6=2", remove("%zz"), "?%zz=1&%6=2"},
		{"the rest stays byte for byte", "?x=%7e+%zz&&k=1&=&y=%C3;", remove("k"), "?x=%7e+%zz&&=&y=%C3;"},
		{"empty pieces stay in front", "?&&k=1", remove("k"), "?&"},
		{"an empty query stays one", "?", remove("k"), "?"},
		{"no query stays none", "", remove("k"), ""},
		{"set replaces in place, and the later ones go", "?a=1&k=2&b=3&k=4", set("k", "new"), "?a=1&k=new&b=3"},
		{"set adds at the end where there is none", "?a=1", set("k", "v"), "?a=1&k=v"},
		{"set begins a query", "", set("k", "v"), "?k=v"},
		{"append to an empty query", "?", add("k", "v"), "?k=v"},
		{"append keeps the others of the name", "?k=1", add("k", "2"), "?k=1&k=2"},
		{"what has a meaning is encoded", "", add("a&b=c", "1 2+3%/ü#"), "?a%26b%3Dc=1%202%2B3%25%2F%C3%BC%23"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, has := strings.CutPrefix(tt.in, "?")
			e := query.Start(raw, has)
			tt.edit(&e)
			if got := target(e); got != tt.want {
				t.Errorf("%q became %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func target(e query.Edit) string {
	raw, has := e.Query()
	if !has {
		return raw // has to be empty
	}
	return "?" + raw
}

func TestAnEditThatChangesNothingAllocatesNothing(t *testing.T) {
	raw := "a=1&b=2&c%20d=3"
	if n := testing.AllocsPerRun(100, func() {
		e := query.Start(raw, true)
		e.Remove("k")
		if got, _ := e.Query(); got != raw {
			t.Fatal("the query has changed")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzAgainstNetURL holds decoding against net/url's, piece by piece.
func FuzzAgainstNetURL(f *testing.F) {
	for _, s := range []string{"", "a=1", "a=1&a=2&&b", "a+b=%41&%61+b=%zz", "=;&%", "k=%e3%81%82&%6B=2", "a%2"} {
		f.Add(s, "a b")
		f.Add(s, "k")
	}
	f.Fuzz(func(t *testing.T, raw, name string) {
		var want []string
		count := 0
		for _, pair := range strings.Split(raw, "&") {
			k, v, _ := strings.Cut(pair, "=")
			key, err := url.QueryUnescape(k)
			if err != nil || key != name || raw == "" {
				continue
			}
			count++
			if value, err := url.QueryUnescape(v); err == nil {
				want = append(want, value)
			}
		}
		if got := slices.Collect(query.Values(raw, name)); !slices.Equal(got, want) {
			t.Errorf("Values(%q, %q) = %q, want %q", raw, name, got, want)
		}
		if got := query.Count(raw, name); got != count {
			t.Errorf("Count(%q, %q) = %d, want %d", raw, name, got, count)
		}
	})
}

// FuzzEdit holds an edit against the definition: split at "&", drop or replace the
// pieces of the name, join again.
func FuzzEdit(f *testing.F) {
	f.Add("a=1&k=2&&k", "k", "v w", true)
	f.Add("&k=1", "k", "", false)
	f.Add("%6b=1&%zz", "k", "\x00", false)
	f.Fuzz(func(t *testing.T, raw, name, value string, set bool) {
		var kept []string
		found := false
		for _, pair := range strings.Split(raw, "&") {
			k, _, _ := strings.Cut(pair, "=")
			key, err := url.QueryUnescape(k)
			switch {
			case raw == "":
			case err != nil || key != name:
				kept = append(kept, pair)
			case set && !found:
				kept = append(kept, "\x00new")
				found = true
			}
		}
		e := query.Start(raw, true)
		if set {
			if !found {
				if len(kept) == 1 && kept[0] == "" {
					kept = nil
				}
				kept = append(kept, "\x00new")
			}
			e.Set(name, value)
		} else {
			e.Remove(name)
		}
		want := strings.Join(kept, "&")
		got, has := e.Query()
		if set {
			// The new one is where it belongs, decodes to what was asked
			// for, and is the only one.
			i := strings.Index(want, "\x00new")
			rest := want[i+len("\x00new"):]
			if len(got) < i+len(rest) || got[:i] != want[:i] || !strings.HasSuffix(got, rest) {
				t.Fatalf("Set in %q gave %q", raw, got)
			}
			if all := slices.Collect(query.Values(got, name)); len(all) != 1 || all[0] != value {
				t.Errorf("Set(%q, %q) in %q gave %q, where it reads %q", name, value, raw, got, all)
			}
			return
		}
		if got != want || has != (raw == "" || len(kept) > 0) {
			t.Errorf("Remove(%q) in %q gave %q (%v), want %q", name, raw, got, has, want)
		}
	})
}
