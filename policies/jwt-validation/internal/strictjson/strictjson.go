// Package strictjson reads one JSON object that a stranger has sent.
//
// It exists beside encoding/json for two reasons. It refuses what RFC 7519,
// section 4, lets a receiver refuse and what two readers of a token could
// otherwise understand differently: member names that occur twice, invalid UTF-8,
// half surrogate pairs, deep nesting. And it does so at a fraction of the cost,
// without which decoding a token's claims would cost a third of verifying its
// signature.
package strictjson

import (
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deeply arrays and objects may be nested, the outermost object
// included.
const MaxDepth = 16

// Why a text is refused. The errors are these values themselves: they say nothing of
// the text, which is an attacker's.
var (
	// ErrSyntax: it is not one JSON object.
	ErrSyntax = errors.New("it is not one JSON object")
	// ErrTwice: an object has a member name twice.
	ErrTwice = errors.New("an object has a member twice")
	// ErrUTF8: a string is not UTF-8, or has half a surrogate pair.
	ErrUTF8 = errors.New("a string is not valid UTF-8")
	// ErrDepth: arrays and objects are nested deeper than [MaxDepth].
	ErrDepth = errors.New("it is nested too deeply")
	// ErrNumber: a number is too large for a float64.
	ErrNumber = errors.New("a number is too large")
)

// Object reads the JSON object (RFC 8259) that text consists of. Values are
// string, bool, nil, []any, map[string]any, and float64 or json.Number: see [Number].
// Strings without escapes share text's memory. The errors are those above.
//
// size is about how many bytes of memory the object takes, text included, for
// whoever keeps it: rather too many than too few.
func Object(text string) (object map[string]any, size int, err error) {
	r := reader{text: text, size: len(text)}
	if r.next() != '{' {
		return nil, 0, ErrSyntax
	}
	m, ok := r.object(1)
	if !ok || r.next() != 0 || r.at != len(text) {
		return nil, 0, r.reason()
	}
	return m, r.size, nil
}

// What values take on a 64-bit machine, roughly: an object and each of its members,
// whose table may be half empty; an array and each of its elements, likewise; a
// string or a number, which an interface points to.
const (
	objectBytes  = 64
	memberBytes  = 96
	arrayBytes   = 24
	elementBytes = 32
	scalarBytes  = 16
)

// String returns the string member name of the object that text consists of, and
// whether there is one. It looks no further than that member, builds nothing, and
// so says nothing about the rest of text: it is for what is read before a signature
// has been verified, and read by [Object] afterwards. Of a name that occurs twice it
// gives the first.
func String(text, name string) (value string, ok bool) {
	r := reader{text: text}
	if r.next() != '{' {
		return "", false
	}
	r.at++
	for r.next() == '"' {
		n, ok := r.str()
		if !ok || !r.take(':') {
			return "", false
		}
		if n == name {
			if r.next() != '"' {
				return "", false
			}
			return r.str()
		}
		if !r.skip(1) || !r.take(',') {
			return "", false
		}
	}
	return "", false
}

// Field is a member that [Fields] looks for.
type Field struct {
	// Name is the member's name.
	Name string
	// Kind says what was found, and Text the value of a string.
	Kind Kind
	Text string
}

// Kind is what a member's value is.
type Kind uint8

// The kinds of values.
const (
	Absent Kind = iota
	Text
	// Other is anything but a string, null included.
	Other
)

// Fields reads the object that text consists of, as [Object] does, and fills in the
// members that fields name. It builds nothing, and a name that occurs twice is an
// error only where it is one of those.
func Fields(text string, fields []Field) error {
	r := reader{text: text}
	if !r.fields(fields) || r.next() != 0 || r.at != len(text) {
		return r.reason()
	}
	return nil
}

func (r *reader) fields(fields []Field) bool {
	if !r.take('{') {
		return false
	}
	if r.take('}') {
		return true
	}
	for {
		if r.next() != '"' {
			return false
		}
		name, ok := r.str()
		if !ok || !r.take(':') {
			return false
		}
		if !r.field(name, fields) {
			return false
		}
		if r.take('}') {
			return true
		}
		if !r.take(',') {
			return false
		}
	}
}

// field reads the value of the member called name.
func (r *reader) field(name string, fields []Field) bool {
	for i := range fields {
		f := &fields[i]
		if f.Name != name {
			continue
		}
		if f.Kind != Absent {
			return r.refuse(ErrTwice)
		}
		if r.next() != '"' {
			f.Kind = Other
			break
		}
		f.Kind = Text
		var ok bool
		f.Text, ok = r.str()
		return ok
	}
	return r.skip(1)
}

// skip reads over a value.
func (r *reader) skip(depth int) bool {
	open := r.next()
	switch open {
	case '{', '[':
	case '"':
		_, ok := r.str()
		return ok
	case 't', 'f', 'n':
		_, ok := r.value(depth)
		return ok
	default:
		text, ok := r.number()
		if !ok {
			return false
		}
		_, ok = Number(text)
		return ok || r.refuse(ErrNumber)
	}
	if depth == MaxDepth {
		return r.refuse(ErrDepth)
	}
	r.at++
	if r.take(open + 2) { // "}" and "]" are two after "{" and "["
		return true
	}
	for {
		if open == '{' {
			if r.next() != '"' {
				return false
			}
			if _, ok := r.str(); !ok || !r.take(':') {
				return false
			}
		}
		if !r.skip(depth + 1) {
			return false
		}
		if r.take(open + 2) {
			return true
		}
		if !r.take(',') {
			return false
		}
	}
}

type reader struct {
	text string
	at   int
	size int
	// why is the reason for which the text is refused, where it is not its syntax.
	why error
}

// refuse notes why the text is refused, and returns false.
func (r *reader) refuse(why error) bool {
	r.why = why
	return false
}

func (r *reader) reason() error {
	if r.why != nil {
		return r.why
	}
	return ErrSyntax
}

// next skips white space and returns the byte that follows, which it does not
// consume; 0 at the end.
func (r *reader) next() byte {
	for ; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take consumes c where it is what follows.
func (r *reader) take(c byte) bool {
	if r.next() != c {
		return false
	}
	r.at++
	return true
}

// object reads from "{".
func (r *reader) object(depth int) (map[string]any, bool) {
	r.at++
	r.size += objectBytes
	if r.take('}') {
		return map[string]any{}, true
	}
	room := r.members(depth)
	m := make(map[string]any, room)
	r.size += room * memberBytes
	for {
		if r.next() != '"' {
			return nil, false
		}
		name, ok := r.str()
		if !ok || !r.take(':') {
			return nil, false
		}
		v, ok := r.value(depth)
		if !ok {
			return nil, false
		}
		n := len(m)
		if n >= room {
			r.size += memberBytes
		}
		if m[name] = v; len(m) == n {
			return nil, r.refuse(ErrTwice)
		}
		if r.take('}') {
			return m, true
		}
		if !r.take(',') {
			return nil, false
		}
	}
}

// members is how much room to make for an object's members. The outermost usually
// has nearly all there are: a map that has to grow costs as much as all the rest.
func (r *reader) members(depth int) int {
	if depth > 1 {
		return 4
	}
	return min(strings.Count(r.text, ":"), 32)
}

// array reads from "[".
func (r *reader) array(depth int) ([]any, bool) {
	r.at++
	r.size += arrayBytes
	if r.take(']') {
		return []any{}, true
	}
	list := make([]any, 0, 4)
	for {
		v, ok := r.value(depth)
		if !ok {
			return nil, false
		}
		list = append(list, v)
		r.size += elementBytes
		if r.take(']') {
			return list, true
		}
		if !r.take(',') {
			return nil, false
		}
	}
}

func (r *reader) value(depth int) (any, bool) {
	switch c := r.next(); c {
	case '"':
		r.size += scalarBytes
		s, ok := r.str()
		return s, ok
	case '{':
		if depth == MaxDepth {
			return nil, r.refuse(ErrDepth)
		}
		m, ok := r.object(depth + 1)
		return m, ok
	case '[':
		if depth == MaxDepth {
			return nil, r.refuse(ErrDepth)
		}
		l, ok := r.array(depth + 1)
		return l, ok
	case 't':
		return true, r.word("true")
	case 'f':
		return false, r.word("false")
	case 'n':
		return nil, r.word("null")
	default:
		r.size += scalarBytes
		text, ok := r.number()
		if !ok {
			return nil, false
		}
		if v, ok := Number(text); ok {
			return v, true
		}
		return nil, r.refuse(ErrNumber)
	}
}

func (r *reader) word(w string) bool {
	if len(r.text)-r.at < len(w) || r.text[r.at:r.at+len(w)] != w {
		return false
	}
	r.at += len(w)
	return true
}

// number reads what RFC 8259, section 6, calls a number.
func (r *reader) number() (text string, ok bool) {
	start := r.at
	if r.at < len(r.text) && r.text[r.at] == '-' {
		r.at++
	}
	first := r.at
	if !r.digits() || r.text[first] == '0' && r.at-first > 1 {
		return "", false
	}
	if r.at < len(r.text) && r.text[r.at] == '.' {
		r.at++
		if !r.digits() {
			return "", false
		}
	}
	if r.at < len(r.text) && r.text[r.at]|0x20 == 'e' {
		r.at++
		if r.at < len(r.text) && (r.text[r.at] == '+' || r.text[r.at] == '-') {
			r.at++
		}
		if !r.digits() {
			return "", false
		}
	}
	return r.text[start:r.at], true
}

func (r *reader) digits() bool {
	start := r.at
	for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at > start
}

// ordinary are the bytes that a string has without further ado.
var ordinary = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// str reads from the opening quotation mark to the closing one.
func (r *reader) str() (string, bool) {
	rest := r.text[r.at+1:]
	ascii := true
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		if ordinary[c] {
			continue
		}
		switch {
		case c == '"':
			r.at += i + 2
			return rest[:i], ascii || utf8.ValidString(rest[:i]) || r.refuse(ErrUTF8)
		case c == '\\':
			start := r.at + 1
			r.at += i + 1
			return r.escaped(start)
		case c < ' ':
			return "", false
		}
		ascii = false
	}
	return "", false
}

// escaped reads the rest of a string that began at start and has its first escape
// here.
func (r *reader) escaped(start int) (string, bool) {
	b := append(make([]byte, 0, 2*(r.at-start)+16), r.text[start:r.at]...)
	defer func() { r.size += len(b) }()
	for r.at < len(r.text) {
		c := r.text[r.at]
		r.at++
		switch {
		case c == '"':
			return string(b), utf8.Valid(b) || r.refuse(ErrUTF8)
		case c < ' ':
			return "", false
		case c != '\\':
			b = append(b, c)
			continue
		}
		if r.at == len(r.text) {
			return "", false
		}
		e := r.text[r.at]
		r.at++
		switch e {
		case '"', '\\', '/':
			b = append(b, e)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			c, ok := r.unicode()
			if !ok {
				return "", false
			}
			b = utf8.AppendRune(b, c)
		default:
			return "", false
		}
	}
	return "", false
}

// unicode reads what follows "\u", and the second half of a surrogate pair.
func (r *reader) unicode() (rune, bool) {
	c, ok := r.hex()
	if !ok || !utf16.IsSurrogate(c) {
		return c, ok
	}
	if !r.word(`\u`) {
		return 0, r.refuse(ErrUTF8)
	}
	low, ok := r.hex()
	if !ok {
		return 0, false
	}
	full := utf16.DecodeRune(c, low)
	return full, full != utf8.RuneError || r.refuse(ErrUTF8)
}

func (r *reader) hex() (rune, bool) {
	if len(r.text)-r.at < 4 {
		return 0, false
	}
	var v rune
	for i := 0; i < 4; i++ {
		c := r.text[r.at+i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		v = v<<4 | rune(c)
	}
	r.at += 4
	return v, true
}
