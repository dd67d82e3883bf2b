package exchange

import "iter"

// Field is one header line. Name is in lower case; a name may occur several times
// in a list. Pseudo-headers are not fields: see [Request] and [Response].
type Field struct {
	Name  string
	Value string
}

// Headers is an ordered list of header fields together with what policies have
// done to it. Lookups compare names without regard to ASCII case (RFC 9110,
// section 5.1); stored names are always in lower case. The zero value is an
// empty list. Not safe for concurrent use.
//
// Lookups are linear: a request carries about ten to thirty fields, and for that
// many a scan beats a map that would have to be built for every request.
type Headers struct {
	fields []Field
	edits  []edit
}

// edit is what is known of a name that a policy has touched. A name has one edit
// at most, so that the wire carries one net result per name.
type edit struct {
	name string
	// had says that the name was there when the proxy sent the list.
	had bool
	// replaced says that the proxy's values are gone; otherwise the last
	// appended fields of this name come after them.
	replaced bool
	// appended counts the fields that were appended where replaced is false.
	appended int
}

// Reset makes fields the list, unchanged so far, and takes the slice over. Names
// have to be in lower case.
func (h *Headers) Reset(fields []Field) {
	h.fields = fields
	h.Settle()
}

// maxKept bounds the storage that is kept for another list, in fields. Few messages
// have as many, and storage that one client's has grown would be kept forever.
const maxKept = 1024

// Storage returns the backing slice, emptied, for the next [Headers.Reset]; nil where
// it has grown beyond what is worth keeping. The list is empty afterwards.
func (h *Headers) Storage() []Field {
	h.empty()
	s := h.fields
	h.fields = nil
	return s
}

// empty removes every field and every edit, and keeps the storage unless it has grown
// beyond what is worth keeping.
func (h *Headers) empty() {
	if h.fields = emptied(h.fields); cap(h.fields) > maxKept {
		h.fields = nil
	}
	if h.edits = emptied(h.edits); cap(h.edits) > maxKept {
		h.edits = nil
	}
}

// emptied returns s without its elements. Most lists of an exchange have none: trailers
// and what nobody has changed.
func emptied[T any](s []T) []T {
	if len(s) > 0 {
		clear(s)
	}
	return s[:0]
}

// Clone returns a copy that shares no storage with h.
func (h *Headers) Clone() Headers {
	return Headers{
		fields: append([]Field(nil), h.fields...),
		edits:  append([]edit(nil), h.edits...),
	}
}

// Len is the number of fields.
func (h *Headers) Len() int { return len(h.fields) }

// Size is the number of bytes of all names and values.
func (h *Headers) Size() int {
	n := 0
	for i := range h.fields {
		n += len(h.fields[i].Name) + len(h.fields[i].Value)
	}
	return n
}

// At returns field i, 0 <= i < Len().
func (h *Headers) At(i int) Field { return h.fields[i] }

// Get returns the first value of name, and whether there is one.
func (h *Headers) Get(name string) (string, bool) {
	for i := range h.fields {
		// The length is compared first, since the call of equalFold is dearer.
		if f := &h.fields[i]; len(f.Name) == len(name) && equalFold(f.Name, name) {
			return f.Value, true
		}
	}
	return "", false
}

// Values yields every value of name in order.
func (h *Headers) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range h.fields {
			if f := &h.fields[i]; equalFold(f.Name, name) && !yield(f.Value) {
				return
			}
		}
	}
}

// Count is the number of fields called name.
func (h *Headers) Count(name string) int {
	n := 0
	for i := range h.fields {
		if equalFold(h.fields[i].Name, name) {
			n++
		}
	}
	return n
}

// All yields every field in order as name and value.
func (h *Headers) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range h.fields {
			if !yield(h.fields[i].Name, h.fields[i].Value) {
				return
			}
		}
	}
}

// Set leaves name with the one value. It stays at the place of the first field of
// that name, or comes last where there was none.
func (h *Headers) Set(name, value string) {
	name = Lower(name)
	first := h.index(name)
	e := h.touch(name, first >= 0)
	e.replaced, e.appended = true, 0
	if first < 0 {
		h.fields = append(h.fields, Field{Name: name, Value: value})
		return
	}
	h.fields[first].Value = value
	h.deleteFrom(first+1, name)
}

// Append adds a field after those that are there.
func (h *Headers) Append(name, value string) {
	name = Lower(name)
	if e := h.touch(name, h.index(name) >= 0); !e.replaced {
		e.appended++
	}
	h.fields = append(h.fields, Field{Name: name, Value: value})
}

// AddIfAbsent adds a field where none of that name is there.
func (h *Headers) AddIfAbsent(name, value string) {
	if _, ok := h.Get(name); !ok {
		h.Append(name, value)
	}
}

// OverwriteIfExists is Set where a field of that name is there.
func (h *Headers) OverwriteIfExists(name, value string) {
	if _, ok := h.Get(name); ok {
		h.Set(name, value)
	}
}

// Remove deletes every field called name.
func (h *Headers) Remove(name string) {
	name = Lower(name)
	first := h.index(name)
	if first < 0 {
		return
	}
	e := h.touch(name, true)
	e.replaced, e.appended = true, 0
	h.deleteFrom(first, name)
}

// Changed reports whether any field was set, appended or removed.
func (h *Headers) Changed() bool { return len(h.edits) > 0 }

// Settle forgets what has been changed and keeps the list as it is: the changes
// up to here have been told to the proxy, and later ones count from here.
func (h *Headers) Settle() { h.edits = emptied(h.edits) }

// Touched yields each name that a policy has set, appended or removed, once.
func (h *Headers) Touched() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range h.edits {
			if !yield(h.edits[i].name) {
				return
			}
		}
	}
}

// A ChangeVisitor receives the net result of all changes to a list.
type ChangeVisitor interface {
	// RemoveHeader is called for a name that the proxy had and that is gone.
	RemoveHeader(name string)
	// SetHeader is called for each value that has to be written: with add
	// false the value takes the place of all that the proxy has under the
	// name, with add true it comes after them.
	SetHeader(name, value string, add bool)
}

// VisitChanges tells v the net result per name, names in the order in which they
// were first touched: a name that is absent now and was there before is removed;
// of a name whose values were replaced the first overwrites and the rest are
// added; of a name that was only appended to, the appended values are added. A
// name that was neither there before nor is now is not told.
func (h *Headers) VisitChanges(v ChangeVisitor) {
	for i := range h.edits {
		e := &h.edits[i]
		if e.replaced {
			h.visitReplaced(e, v)
			continue
		}
		skip := h.Count(e.name) - e.appended
		for j := range h.fields {
			f := &h.fields[j]
			if f.Name != e.name {
				continue
			}
			if skip > 0 {
				skip--
				continue
			}
			// Envoy adds to a name that it does not have just as it
			// overwrites one, so a first value may be added too.
			v.SetHeader(f.Name, f.Value, true)
		}
	}
}

func (h *Headers) visitReplaced(e *edit, v ChangeVisitor) {
	first := true
	for j := range h.fields {
		if f := &h.fields[j]; f.Name == e.name {
			v.SetHeader(f.Name, f.Value, !first)
			first = false
		}
	}
	if first && e.had {
		v.RemoveHeader(e.name)
	}
}

// index is where the first field of a name in lower case is, or -1.
func (h *Headers) index(name string) int {
	for i := range h.fields {
		if same(h.fields[i].Name, name) {
			return i
		}
	}
	return -1
}

// touch returns the edit of a name; present says whether the list has it now.
func (h *Headers) touch(name string, present bool) *edit {
	for i := range h.edits {
		if same(h.edits[i].name, name) {
			return &h.edits[i]
		}
	}
	h.edits = append(h.edits, edit{name: name, had: present})
	return &h.edits[len(h.edits)-1]
}

// same is a == b for header names. They often have the same length and beginning
// (x-forwarded-for, x-forwarded-...), so that the last byte tells them apart before
// the comparison is called.
func same(a, b string) bool {
	n := len(a)
	return n == len(b) && (n == 0 || a[n-1] == b[n-1]) && a == b
}

// deleteFrom deletes every field called name at index start or later.
func (h *Headers) deleteFrom(start int, name string) {
	kept := start
	for i := start; i < len(h.fields); i++ {
		if same(h.fields[i].Name, name) {
			continue
		}
		if kept != i {
			h.fields[kept] = h.fields[i]
		}
		kept++
	}
	clear(h.fields[kept:])
	h.fields = h.fields[:kept]
}

// Lower returns s with ASCII letters in lower case; s itself where it already is.
func Lower(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if c := b[i]; 'A' <= c && c <= 'Z' {
					b[i] = c + ('a' - 'A')
				}
			}
			return string(b)
		}
	}
	return s
}

// equalFold compares a stored name, in lower case, with one in any case.
func equalFold(stored, name string) bool {
	if len(stored) != len(name) {
		return false
	}
	if same(stored, name) {
		return true
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if stored[i] != c {
			return false
		}
	}
	return true
}
