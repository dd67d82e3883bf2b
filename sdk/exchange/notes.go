package exchange

import (
	"encoding/binary"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Bounds on what one call may note. What is beyond them is left out and counted.
const (
	// MaxAnnotations is how many annotations a call may make, and MaxSpans how many
	// spans. A span may have MaxSpanAttributes attributes.
	MaxAnnotations, MaxSpans, MaxSpanAttributes = 16, 16, 8
	// MaxKey bounds a key and the name of a span, and MaxText a value, in bytes.
	MaxKey, MaxText = 64, 256
)

// Redacted stands for a value that is not shown: a secret, or one whose type is none of
// those that are known to hold no secret.
const Redacted = "[redacted]"

// Noted is what one call has noted. It is not modified once a runtime has taken it.
type Noted struct {
	// Annotations are what the policy tells the operator. A value is of one of the
	// kinds String, Bool, Int64, Uint64, Float64, Duration and Time.
	Annotations []slog.Attr
	// Spans are parts of the call's time, in the order in which they began.
	Spans []Span
	// Dropped is how many annotations, spans and attributes were left out: there were
	// too many, or a key was not valid.
	Dropped int
}

// Span is a part of a call's time.
type Span struct {
	Name string
	// Began and Ended are by the policies' clock.
	Began, Ended time.Time
	// ID is the span's id in a trace (W3C Trace Context), which others may know
	// already. Zero is none.
	ID [8]byte
	// Client says that another server was asked.
	Client bool
	// Attributes are as annotations are.
	Attributes []slog.Attr
	// Error says what went wrong, or is empty.
	Error string
}

// Notes keeps what a call notes, within bounds. Safe for concurrent use.
type Notes struct {
	place *Place

	mu     sync.Mutex
	closed bool
	noted  Noted
	// open are the spans that have not ended.
	open uint32
}

// Annotate adds annotations. One with the key of an earlier one takes its place.
func (n *Notes) Annotate(attrs ...slog.Attr) {
	if n == nil {
		return
	}
	// Values and their methods are the policy's code: before the lock.
	clean := n.place.clean(attrs)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.noted.Annotations = n.add(n.noted.Annotations, clean, MaxAnnotations)
	}
}

// Begin begins a span and returns its number, which is -1 if there are too many.
func (n *Notes) Begin(name string, client bool, attrs []slog.Attr) (number int, id [8]byte) {
	clean := n.place.clean(attrs)
	s := Span{Name: n.place.text(name, MaxKey), Began: n.place.now(), ID: n.place.spanID(), Client: client}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return -1, id
	}
	if len(n.noted.Spans) == MaxSpans {
		n.noted.Dropped++
		return -1, id
	}
	s.Attributes = n.add(nil, clean, MaxSpanAttributes)
	number = len(n.noted.Spans)
	n.noted.Spans = append(n.noted.Spans, s)
	n.open |= 1 << number
	return number, s.ID
}

// AnnotateSpan adds attributes to a span that has not ended.
func (n *Notes) AnnotateSpan(number int, attrs []slog.Attr) {
	clean := n.place.clean(attrs)
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.running(number); s != nil {
		s.Attributes = n.add(s.Attributes, clean, MaxSpanAttributes)
	}
}

// End ends a span. A span ends once.
func (n *Notes) End(number int, err error) {
	text := ""
	if err != nil {
		text = n.place.text(err.Error(), MaxText)
	}
	now := n.place.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.running(number); s != nil {
		s.Ended, s.Error = now, text
		n.open &^= 1 << number
	}
}

func (n *Notes) running(number int) *Span {
	if n.closed || number < 0 || n.open&(1<<number) == 0 {
		return nil
	}
	return &n.noted.Spans[number]
}

// close ends the spans that have not ended, and returns everything.
func (n *Notes) close() *Noted {
	now := n.place.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.noted.Spans {
		if n.open&(1<<i) != 0 {
			n.noted.Spans[i].Ended = now
		}
	}
	n.closed = true
	return &n.noted
}

// add adds attributes that are clean, and counts those that are left out.
func (n *Notes) add(to, attrs []slog.Attr, most int) []slog.Attr {
next:
	for _, a := range attrs {
		if !validKey(a.Key) {
			n.noted.Dropped++
			continue
		}
		for i := range to {
			if to[i].Key == a.Key {
				to[i].Value = a.Value
				continue next
			}
		}
		if len(to) == most {
			n.noted.Dropped++
			continue
		}
		to = append(to, a)
	}
	return to
}

func validKey(key string) bool {
	for i := 0; i < len(key); i++ {
		c := key[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return key != "" && len(key) <= MaxKey
}

func (p *Place) now() time.Time {
	if p == nil || p.Now == nil {
		return time.Time{}
	}
	return p.Now()
}

func (p *Place) spanID() (id [8]byte) {
	if p == nil || p.Random == nil {
		return id
	}
	_, _ = p.Random.Read(id[:])
	if binary.BigEndian.Uint64(id[:]) == 0 {
		id[7] = 1
	}
	return id
}

// text is a text without the policy's secrets, cut to most bytes.
func (p *Place) text(s string, most int) string {
	if p != nil && p.Scrub != nil {
		s = p.Scrub(s)
	}
	if len(s) <= most {
		return s
	}
	const ellipsis = "…"
	end := most - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.Clone(s[:end]) + ellipsis
}

// clean returns attributes whose values are of kinds that are known to hold no secret.
func (p *Place) clean(attrs []slog.Attr) []slog.Attr {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = slog.Attr{Key: a.Key, Value: p.value(a.Value)}
	}
	return clean
}

func (p *Place) value(v slog.Value) slog.Value {
	v = v.Resolve()
	switch v.Kind() {
	case slog.KindBool, slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindDuration, slog.KindTime:
		return v
	case slog.KindString:
		return slog.StringValue(p.text(v.String(), MaxText))
	}
	if err, ok := v.Any().(error); ok {
		return slog.StringValue(p.text(err.Error(), MaxText))
	}
	return slog.StringValue(Redacted)
}
