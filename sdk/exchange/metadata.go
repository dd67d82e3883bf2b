package exchange

import "iter"

// Metadata is a small set of named values. The zero value is empty. Values are in
// JSON's Go types (string, float64, bool, nil, []any, map[string]any) where they
// are to leave the process, and are never modified once they are here.
type Metadata struct{ entries []Entry }

// Entry is one named value.
type Entry struct {
	Key   string
	Value any
}

// Set gives key the value, instead of one that it had.
func (m *Metadata) Set(key string, value any) {
	for i := range m.entries {
		if m.entries[i].Key == key {
			m.entries[i].Value = value
			return
		}
	}
	m.entries = append(m.entries, Entry{key, value})
}

// Get returns the value of key, and whether there is one.
func (m *Metadata) Get(key string) (any, bool) {
	for i := range m.entries {
		if m.entries[i].Key == key {
			return m.entries[i].Value, true
		}
	}
	return nil, false
}

// Len is the number of entries.
func (m *Metadata) Len() int { return len(m.entries) }

// All yields the entries in the order in which their keys were first set.
func (m *Metadata) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for i := range m.entries {
			if !yield(m.entries[i].Key, m.entries[i].Value) {
				return
			}
		}
	}
}

// Clear removes every entry.
func (m *Metadata) Clear() { m.reset() }

// Clone returns a copy that shares no storage with m.
func (m *Metadata) Clone() Metadata {
	return Metadata{entries: append([]Entry(nil), m.entries...)}
}

func (m *Metadata) reset() {
	if m.entries = emptied(m.entries); cap(m.entries) > maxKept {
		m.entries = nil
	}
}
