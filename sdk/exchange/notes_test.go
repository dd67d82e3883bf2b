package exchange_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

var place = &exchange.Place{
	Now: func() time.Time { return time.Unix(1_700_000_000, 0) }, Random: bytes.NewReader(bytes.Repeat([]byte{0}, 1<<10)),
	Scrub: func(s string) string { return strings.ReplaceAll(s, "hunter2", "***") },
}

// lying is a type whose text is a secret, and stated one that says for itself what is shown.
type (
	lying  struct{ secret string }
	stated struct{}
)

func (l lying) String() string               { return l.secret }
func (stated) LogValue() slog.Value          { return slog.IntValue(7) }
func (l lying) MarshalText() ([]byte, error) { return []byte(l.secret), nil }

// TestAnnotationsShowNoSecrets proves that a value is shown only if its type is one that
// holds no secret, and that a policy's secrets are taken out of texts.
func TestAnnotationsShowNoSecrets(t *testing.T) {
	secret := policy.InlineSecret("hunter2")
	for name, tt := range map[string]struct {
		value any
		want  string
	}{
		"a secret": {secret, exchange.Redacted}, "a pointer to one": {&secret, exchange.Redacted}, "a struct with one": {struct{ S policy.Secret }{secret}, exchange.Redacted},
		"a type with its own text": {lying{"hunter2"}, exchange.Redacted}, "bytes": {[]byte("hunter2"), exchange.Redacted},
		"a group": {slog.GroupValue(slog.Any("s", secret)), exchange.Redacted}, "nil": {nil, exchange.Redacted},
		"a text with a secret of the parameters": {"the key hunter2", "the key ***"}, "an error": {errors.New("no hunter2"), "no ***"},
		"a type that says what is shown": {stated{}, "7"}, "a number": {3, "3"}, "a share": {0.5, "0.5"}, "a time": {2 * time.Second, "2s"}, "a truth": {true, "true"},
		"a long text": {strings.Repeat("ü", 1000), strings.Repeat("ü", 126) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			c := exchange.Call{Place: place, Records: true}
			c.Notes().Annotate(slog.Any("k", tt.value))
			got := c.Take().Annotations
			if len(got) != 1 || got[0].Value.String() != tt.want || len(tt.want) > exchange.MaxText {
				t.Errorf("noted %v, want %q", got, tt.want)
			}
		})
	}
}

// TestNotesAreBounded proves that a call can neither note more than it may nor under keys
// that somebody else has made, and that what is left out is counted.
func TestNotesAreBounded(t *testing.T) {
	c := exchange.Call{Place: place, Records: true}
	var many []slog.Attr
	for i := range 100 {
		many = append(many, slog.Int(fmt.Sprint("key-", i), i))
	}
	c.Notes().Annotate(many...)
	c.Notes().Annotate(slog.Int("key-3", 33), slog.String("a b", ""), slog.String("", ""), slog.String(strings.Repeat("k", 65), ""))
	for range 100 {
		n, _ := c.Notes().Begin(strings.Repeat("n", 1000), false, many)
		c.Notes().AnnotateSpan(n, many)
		c.Notes().End(n, errors.New(strings.Repeat("e", 1000)))
		c.Notes().End(n, nil)
	}
	got := c.Take()
	if len(got.Annotations) != exchange.MaxAnnotations || got.Annotations[3].Value.Int64() != 33 || len(got.Spans) != exchange.MaxSpans {
		t.Errorf("%d annotations %v, %d spans", len(got.Annotations), got.Annotations, len(got.Spans))
	}
	s := got.Spans[0]
	if len(s.Name) > exchange.MaxKey || len(s.Error) > exchange.MaxText || len(s.Attributes) != exchange.MaxSpanAttributes {
		t.Errorf("span %+v", s)
	}
	// Of each span 92 attributes, and 92 more; of the others themselves.
	if want := 84 + 3 + 16*(92+92) + 84; got.Dropped != want {
		t.Errorf("%d are dropped, want %d", got.Dropped, want)
	}
}

// TestNothingIsNotedOfACallThatIsOver proves that a policy which goes on after its call
// cannot write into the record of another one.
func TestNothingIsNotedOfACallThatIsOver(t *testing.T) {
	c := exchange.Call{Place: place, Records: true}
	late := c.Notes()
	open, id := late.Begin("open", true, nil)
	got := c.Take()
	if len(got.Spans) != 1 || got.Spans[0].Ended.IsZero() || got.Spans[0].ID != id || id == [8]byte{} {
		t.Errorf("the span that has not ended is %+v", got.Spans)
	}
	late.Annotate(slog.Int("late", 1))
	late.AnnotateSpan(open, []slog.Attr{slog.Int("late", 1)})
	late.End(open, errors.New("late"))
	if n, _ := late.Begin("late", false, nil); n != -1 {
		t.Errorf("a span begins: %d", n)
	}
	c.Notes().Annotate(slog.Int("next", 1))
	if next := c.Take(); len(next.Annotations) != 1 || len(next.Spans) != 0 || len(got.Annotations) != 0 || got.Spans[0].Error != "" {
		t.Errorf("the next call has noted %+v, this one %+v", next, got)
	}
	if c.Take() != nil {
		t.Error("a call that has noted nothing has noted something")
	}
}

// TestNotesInConcurrentUse is for the race detector.
func TestNotesInConcurrentUse(t *testing.T) {
	c := exchange.Call{Place: &exchange.Place{}, Records: true}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			n, _ := c.Notes().Begin("s", false, nil)
			c.Notes().Annotate(slog.Int("a", 1))
			c.Notes().End(n, nil)
		})
	}
	all.Wait()
	if got := c.Take(); len(got.Spans) != 8 || len(got.Annotations) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestChild proves that others are told the exchange's trace and the span, and nothing
// that is no trace.
func TestChild(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	id := [8]byte{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}
	for name, tt := range map[string]struct {
		parent string
		id     [8]byte
		want   string
	}{
		"a span": {parent, id, "00-0af7651916cd43dd8448eb211c80319c-1122334455667788-01"}, "no span": {parent, [8]byte{}, parent},
		"no trace": {"", id, ""}, "too long": {parent + "-x", id, ""}, "another version": {"01" + parent[2:], id, ""}, "no hex": {strings.Replace(parent, "a", "g", 1), id, ""},
		"upper case": {strings.ToUpper(parent), id, ""}, "zeros": {"00-00000000000000000000000000000000-b7ad6b7169203331-01", id, ""}, "not sampled": {parent[:53] + "00", [8]byte{}, parent[:53] + "00"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (exchange.TraceContext{Parent: tt.parent}).Child(tt.id); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
