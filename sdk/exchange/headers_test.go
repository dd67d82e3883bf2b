package exchange_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"
	"weak"

	"policyengine.dev/sdk/exchange"
)

func listOf(pairs ...string) *exchange.Headers {
	var h exchange.Headers
	var fields []exchange.Field
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		fields = append(fields, exchange.Field{Name: name, Value: value})
	}
	h.Reset(fields)
	return &h
}

func show(h *exchange.Headers) string {
	var parts []string
	for name, value := range h.All() {
		parts = append(parts, name+"="+value)
	}
	return strings.Join(parts, " ")
}

// told records what a visitor is told, a word a call: -name, name=value, name+=value.
type told []string

func (v *told) RemoveHeader(name string) { *v = append(*v, "-"+name) }

func (v *told) SetHeader(name, value string, add bool) {
	sign := "="
	if add {
		sign = "+="
	}
	*v = append(*v, name+sign+value)
}

func changes(h *exchange.Headers) string {
	var v told
	h.VisitChanges(&v)
	return strings.Join(v, " ")
}

func TestEdits(t *testing.T) {
	type list = *exchange.Headers
	for _, tt := range []struct {
		name string
		in   []string
		edit func(h list)
		// view is what later policies see; wire is what the proxy is told.
		view, wire string
	}{
		{"set replaces all of the name, at the first's place", []string{"a=1", "b=2", "a=3"},
			func(h list) { h.Set("A", "4") }, "a=4 b=2", "a=4"},
		{"set of a new name comes last", []string{"b=2"},
			func(h list) { h.Set("a", "1") }, "b=2 a=1", "a=1"},
		{"append leaves what was there alone", []string{"a=1", "b=2"},
			func(h list) { h.Append("a", "3") }, "a=1 b=2 a=3", "a+=3"},
		{"append to nothing", nil, func(h list) { h.Append("A", "1") }, "a=1", "a+=1"},
		{"remove takes all of the name, in any case", []string{"a=1", "b=2", "a=3"},
			func(h list) { h.Remove("A") }, "b=2", "-a"},
		{"removing what is not there tells nothing", []string{"b=2"},
			func(h list) { h.Remove("a") }, "b=2", ""},
		{"removing what was added tells nothing", []string{"b=2"},
			func(h list) { h.Append("a", "1"); h.Remove("a") }, "b=2", ""},
		{"append after remove overwrites", []string{"a=1"},
			func(h list) { h.Remove("a"); h.Append("a", "2"); h.Append("a", "3") }, "a=2 a=3", "a=2 a+=3"},
		{"set after append replaces both", []string{"a=1"},
			func(h list) { h.Append("a", "2"); h.Set("a", "3") }, "a=3", "a=3"},
		{"append after set", []string{"a=1"},
			func(h list) { h.Set("a", "2"); h.Append("a", "3") }, "a=2 a=3", "a=2 a+=3"},
		{"remove after append", []string{"a=1"},
			func(h list) { h.Append("a", "2"); h.Remove("a") }, "", "-a"},
		{"add if absent adds", nil, func(h list) { h.AddIfAbsent("A", "1") }, "a=1", "a+=1"},
		{"add if absent leaves what is there", []string{"a=1"},
			func(h list) { h.AddIfAbsent("A", "2") }, "a=1", ""},
		{"overwrite if exists overwrites", []string{"a=1"},
			func(h list) { h.OverwriteIfExists("A", "2") }, "a=2", "a=2"},
		{"overwrite if exists adds nothing", nil,
			func(h list) { h.OverwriteIfExists("a", "2") }, "", ""},
		{"names in the order in which they were touched", []string{"a=1", "b=2"},
			func(h list) { h.Set("c", "3"); h.Remove("b"); h.Set("a", "4"); h.Append("c", "5") },
			"a=4 c=3 c=5", "c=3 c+=5 -b a=4"},
		{"what is settled is told no more", []string{"a=1"},
			func(h list) { h.Set("a", "2"); h.Set("b", "3"); h.Settle(); h.Remove("b"); h.Append("a", "4") },
			"a=2 a=4", "-b a+=4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := listOf(tt.in...)
			tt.edit(h)
			if got := show(h); got != tt.view {
				t.Errorf("the list is %q, want %q", got, tt.view)
			}
			if got := changes(h); got != tt.wire {
				t.Errorf("the proxy is told %q, want %q", got, tt.wire)
			}
		})
	}
}

// model is a header list at its simplest: what policies see, and what the proxy has.
type model struct{ view, proxy []exchange.Field }

func (m *model) set(name, value string) {
	i := slices.IndexFunc(m.view, named(name))
	if i < 0 {
		m.view = append(m.view, exchange.Field{Name: name, Value: value})
		return
	}
	m.view[i].Value = value
	rest := slices.DeleteFunc(slices.Clone(m.view[i+1:]), named(name))
	m.view = append(m.view[:i+1], rest...)
}

func (m *model) remove(name string) { m.view = slices.DeleteFunc(m.view, named(name)) }

func (m *model) append(name, value string) {
	m.view = append(m.view, exchange.Field{Name: name, Value: value})
}

func (m *model) has(name string) bool { return slices.ContainsFunc(m.view, named(name)) }

func named(name string) func(exchange.Field) bool {
	return func(f exchange.Field) bool { return f.Name == name }
}

// wire collects a message's header mutation.
type wire struct {
	removes []string
	sets    []struct {
		field exchange.Field
		add   bool
	}
}

func (w *wire) RemoveHeader(name string) { w.removes = append(w.removes, name) }

func (w *wire) SetHeader(name, value string, add bool) {
	w.sets = append(w.sets, struct {
		field exchange.Field
		add   bool
	}{exchange.Field{Name: name, Value: value}, add})
}

// envoy does what Envoy does with a header mutation: the removes first, and then
// each set, which overwrites or adds.
func (w *wire) envoy(list []exchange.Field) []exchange.Field {
	m := model{view: slices.Clone(list)}
	for _, name := range w.removes {
		m.remove(name)
	}
	for _, s := range w.sets {
		if s.add {
			m.append(s.field.Name, s.field.Value)
		} else {
			m.set(s.field.Name, s.field.Value)
		}
	}
	return m.view
}

// byName gives every name's values in order: the order between names means nothing
// (RFC 9110, section 5.3).
func byName(fields []exchange.Field) map[string][]string {
	all := map[string][]string{}
	for _, f := range fields {
		all[f.Name] = append(all[f.Name], f.Value)
	}
	return all
}

// play lets both the list and the model live through the edits that choose picks.
func play(t *testing.T, choose func(n int) int) {
	t.Helper()
	names := []string{"a", "b", "c-d"}
	var start []exchange.Field
	for range choose(6) {
		start = append(start, exchange.Field{Name: names[choose(len(names))], Value: fmt.Sprint("v", choose(100))})
	}
	var h exchange.Headers
	h.Reset(slices.Clone(start))
	m := model{view: slices.Clone(start), proxy: slices.Clone(start)}
	var log []string
	for range choose(12) {
		name, value := names[choose(len(names))], fmt.Sprint("n", choose(100))
		given := name
		if choose(2) == 1 {
			given = strings.ToUpper(name)
		}
		op := choose(7)
		log = append(log, fmt.Sprintf("%d(%s,%s)", op, given, value))
		switch op {
		case 0:
			h.Set(given, value)
			m.set(name, value)
		case 1:
			h.Append(given, value)
			m.append(name, value)
		case 2:
			h.Remove(given)
			m.remove(name)
		case 3:
			h.AddIfAbsent(given, value)
			if !m.has(name) {
				m.append(name, value)
			}
		case 4:
			h.OverwriteIfExists(given, value)
			if m.has(name) {
				m.set(name, value)
			}
		case 5:
			h = h.Clone()
		case 6:
			var w wire
			h.VisitChanges(&w)
			m.proxy = w.envoy(m.proxy)
			h.Settle()
		}
		var view []exchange.Field
		for i := range h.Len() {
			view = append(view, h.At(i))
		}
		if !slices.Equal(view, m.view) {
			t.Fatalf("from %v by %v: the list is %v, want %v", start, log, view, m.view)
		}
		if h.Count(given) != len(slices.Collect(h.Values(given))) || m.has(name) != (h.Count(given) > 0) {
			t.Fatalf("from %v by %v: %d fields called %s", start, log, h.Count(given), given)
		}
	}
	var w wire
	h.VisitChanges(&w)
	got, want := byName(w.envoy(m.proxy)), byName(m.view)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("from %v by %v: told %+v the proxy has %v, want %v", start, log, w, got, want)
	}
	assertNetResult(t, w)
}

// assertNetResult holds that a name is told once: removed, or overwritten once and
// then added to, or only added to.
func assertNetResult(t *testing.T, w wire) {
	t.Helper()
	state := map[string]string{}
	for _, name := range w.removes {
		if state[name] != "" {
			t.Fatalf("%s is removed twice: %+v", name, w)
		}
		state[name] = "removed"
	}
	for _, s := range w.sets {
		name := s.field.Name
		switch {
		case state[name] == "removed", !s.add && state[name] != "":
			t.Fatalf("%s is told in more than one way: %+v", name, w)
		}
		state[name] = "set"
	}
}

// TestNetResultAgainstAModel plays ten thousand random games with a fixed seed.
func TestNetResultAgainstAModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		play(t, r.IntN)
	}
}

func FuzzNetResult(f *testing.F) {
	f.Add([]byte{3, 0, 1, 1, 2, 0, 3, 9, 0, 1, 0, 2, 1, 1, 5, 0, 6})
	f.Fuzz(func(t *testing.T, script []byte) {
		play(t, func(n int) int {
			if len(script) == 0 {
				return 0
			}
			c := int(script[0])
			script = script[1:]
			return c % n
		})
	})
}

func TestLookups(t *testing.T) {
	h := listOf("accept=x", "cookie=1", "cookie=2")
	if v, ok := h.Get("Cookie"); v != "1" || !ok {
		t.Errorf("Get gives %q, %v", v, ok)
	}
	if v, ok := h.Get("cooki"); v != "" || ok {
		t.Errorf("Get of what is not there gives %q, %v", v, ok)
	}
	if got := slices.Collect(h.Values("COOKIE")); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("Values gives %q", got)
	}
	for range h.Values("cookie") {
		break // must stop
	}
	for range h.All() {
		break
	}
	h.Set("x", "1")
	h.Remove("cookie")
	if got := slices.Collect(h.Touched()); !slices.Equal(got, []string{"x", "cookie"}) || !h.Changed() {
		t.Errorf("Touched gives %q", got)
	}
	for range h.Touched() {
		break
	}
	// Only ASCII letters are folded: the Kelvin sign is no k.
	if _, ok := listOf("k=1").Get("\u212a"); ok {
		t.Error("another letter is taken for k")
	}
}

// TestACloneIsOnItsOwn proves that neither list sees what is done to the other.
func TestACloneIsOnItsOwn(t *testing.T) {
	h := listOf("a=1", "b=2")
	h.Set("a", "3")
	c := h.Clone()
	c.Set("a", "4")
	c.Append("c", "5")
	h.Remove("b")
	if got := show(h); got != "a=3" {
		t.Errorf("the list is %q", got)
	}
	if got := show(&c); got != "a=4 b=2 c=5" || changes(&c) != "a=4 c+=5" {
		t.Errorf("the clone is %q, and tells %q", got, changes(&c))
	}
}

func TestStorageKeepsNothing(t *testing.T) {
	h := listOf("a=1", "b=2")
	h.Set("a", "secret")
	s := h.Storage()
	if h.Len() != 0 || h.Changed() || len(s) != 0 || cap(s) < 2 {
		t.Fatalf("Len %d, Changed %v, storage %d of %d", h.Len(), h.Changed(), len(s), cap(s))
	}
	for _, f := range s[:2] {
		if f != (exchange.Field{}) {
			t.Errorf("the storage still holds %v", f)
		}
	}
}

// TestStorageIsBounded proves that a list that one message has grown is not kept for
// all later ones, and that nothing that has been told is.
func TestStorageIsBounded(t *testing.T) {
	var h exchange.Headers
	h.Reset(make([]exchange.Field, 2000))
	if s := h.Storage(); cap(s) != 0 {
		t.Errorf("room for %d fields is kept", cap(s))
	}
	h.Reset(make([]exchange.Field, 100))
	if s := h.Storage(); cap(s) != 100 {
		t.Errorf("room for %d fields is kept, want what there was", cap(s))
	}
	name := strings.Repeat("x", 100)
	at := weak.Make(unsafe.StringData(name))
	h.Set(name, "1")
	h.Settle()
	h.Storage()
	name = ""
	runtime.GC()
	if at.Value() != nil {
		t.Error("a name that was settled is kept")
	}
	runtime.KeepAlive(&h)
}

func TestLower(t *testing.T) {
	for in, want := range map[string]string{"": "", "a-b": "a-b", "X-Api-Key": "x-api-key", "É[Z@": "É[z@"} {
		if got := exchange.Lower(in); got != want {
			t.Errorf("Lower(%q) = %q, want %q", in, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { exchange.Lower("x-api-key") }); n != 0 {
		t.Errorf("a name in lower case costs %v allocations", n)
	}
}

func TestAllocations(t *testing.T) {
	fields := []exchange.Field{{Name: "accept", Value: "*/*"}, {Name: "cookie", Value: "a=b"}, {Name: "host", Value: "x"}}
	var h exchange.Headers
	h.Reset(make([]exchange.Field, 0, 16))
	run := func() {
		h.Reset(append(h.Storage(), fields...))
		h.Set("x-a", "1")
		h.Append("accept", "text/html")
		h.Remove("Cookie"[1:])
		h.Remove("cookie")
		h.Get("Accept")
		for range h.Values("accept") {
		}
		var v nothing
		h.VisitChanges(&v)
		h.Settle()
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("a message costs %v allocations", n)
	}
}

type nothing struct{}

func (*nothing) RemoveHeader(string)            {}
func (*nothing) SetHeader(string, string, bool) {}

func BenchmarkGet(b *testing.B) {
	h := listOf("user-agent=x", "accept=*/*", "x-request-id=1", "cookie=a", "x-forwarded-for=1", "x-forwarded-proto=https",
		"accept-encoding=gzip", "accept-language=en", "content-type=application/json", "traceparent=00", "authorization=Bearer x")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := h.Get("authorization"); !ok {
			b.Fatal("not found")
		}
	}
}
