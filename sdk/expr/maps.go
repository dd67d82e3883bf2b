package expr

import (
	"reflect"
	"slices"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// unread is the value of an entry that is over its limits, as the maps of this
// package give it to cel-go's presence test. The test does not read the value, and
// must not fail. Whatever reads it goes through [adapter], which gives the error.
type unread struct{ *types.Err }

// found turns an error value into unread.
func found(v ref.Val) (ref.Val, bool) {
	if err, ok := v.(*types.Err); ok {
		return unread{err}, true
	}
	return v, true
}

// source is a map with string keys of which most expressions want an entry or two.
type source interface {
	// find returns the value of a key; an error value counts as found.
	find(key string) (ref.Val, bool)
	// has reports whether there is a value, without making it.
	has(key string) bool
	// all copies the map, or gives an error value where it is over its limits.
	all() ref.Val
}

// lazyMap is the CEL map over a source of which single entries are looked up. Where
// an expression uses the map in any other way, the plan replaces it by what all
// returns (see [wholeMap]).
type lazyMap struct{ src source }

var _ traits.Mapper = (*lazyMap)(nil)

// Find implements traits.Mapper.
func (m *lazyMap) Find(key ref.Val) (ref.Val, bool) {
	if k, ok := key.(types.String); ok {
		if v, ok := m.src.find(string(k)); ok {
			return found(v)
		}
	}
	return nil, false
}

// Get implements traits.Indexer.
func (m *lazyMap) Get(key ref.Val) ref.Val { return get(m, key) }

// Contains implements traits.Container.
func (m *lazyMap) Contains(key ref.Val) ref.Val {
	k, ok := key.(types.String)
	return types.Bool(ok && m.src.has(string(k)))
}

// Iterator implements traits.Iterable.
func (m *lazyMap) Iterator() traits.Iterator {
	if it, ok := m.src.all().(traits.Iterable); ok {
		return it.Iterator()
	}
	return types.NewStringList(adapter{}, nil).Iterator()
}

// Size implements traits.Sizer.
func (m *lazyMap) Size() ref.Val {
	all := m.src.all()
	if s, ok := all.(traits.Sizer); ok {
		return s.Size()
	}
	return all
}

// Equal implements ref.Val.
func (m *lazyMap) Equal(other ref.Val) ref.Val { return equal(m.src.all(), other) }

// ConvertToNative implements ref.Val.
func (m *lazyMap) ConvertToNative(t reflect.Type) (any, error) {
	return m.src.all().ConvertToNative(t)
}

// ConvertToType implements ref.Val.
func (m *lazyMap) ConvertToType(t ref.Type) ref.Val { return m.src.all().ConvertToType(t) }

// Type implements ref.Val.
func (m *lazyMap) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (m *lazyMap) Value() any { return m.src.all().Value() }

// keyedMap is the CEL map over a Go map with string keys. It iterates in the order
// of its keys, so that an expression gives the same result every time, and holds
// each value to the limits when an expression reads it. It is a pointer, since
// cel-go uses values as keys of Go maps.
type keyedMap[V any] struct {
	entries map[string]V
	// fold is applied to keys that are looked up; nil leaves them as they are.
	fold func(string) string
}

var _ traits.Mapper = (*keyedMap[any])(nil)
var _ traits.Zeroer = (*keyedMap[any])(nil)

func newMap[V any](m map[string]V) ref.Val {
	if len(m) > MaxElements {
		return newFailure(reasonTooMany)
	}
	return &keyedMap[V]{entries: m}
}

func (m *keyedMap[V]) lookup(key ref.Val) (v V, ok bool) {
	k, ok := key.(types.String)
	if !ok {
		return v, false
	}
	name := string(k)
	if m.fold != nil {
		name = m.fold(name)
	}
	v, ok = m.entries[name]
	return v, ok
}

// Find implements traits.Mapper.
func (m *keyedMap[V]) Find(key ref.Val) (ref.Val, bool) {
	v, ok := m.lookup(key)
	if !ok {
		return nil, false
	}
	return found(adapter{}.NativeToValue(v))
}

// Get implements traits.Indexer.
func (m *keyedMap[V]) Get(key ref.Val) ref.Val { return get(m, key) }

// Contains implements traits.Container.
func (m *keyedMap[V]) Contains(key ref.Val) ref.Val {
	_, ok := m.lookup(key)
	return types.Bool(ok)
}

// Iterator implements traits.Iterable.
func (m *keyedMap[V]) Iterator() traits.Iterator {
	return types.NewStringList(adapter{}, sortedKeys(m.entries)).Iterator()
}

// Size implements traits.Sizer.
func (m *keyedMap[V]) Size() ref.Val { return types.Int(len(m.entries)) }

// IsZeroValue implements traits.Zeroer.
func (m *keyedMap[V]) IsZeroValue() bool { return len(m.entries) == 0 }

// Equal implements ref.Val.
func (m *keyedMap[V]) Equal(other ref.Val) ref.Val {
	if o, ok := other.(traits.Mapper); ok {
		return equalMaps(m.exact(), exact(o))
	}
	return types.False
}

// exact returns the map as one whose keys match as they are written.
func (m *keyedMap[V]) exact() traits.Mapper {
	if m.fold == nil {
		return m
	}
	return &keyedMap[V]{entries: m.entries}
}

// ConvertToNative implements ref.Val. Expressions have no use for it.
func (m *keyedMap[V]) ConvertToNative(reflect.Type) (any, error) {
	return nil, failure(reasonConversion)
}

// ConvertToType implements ref.Val.
func (m *keyedMap[V]) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return m
	case types.TypeType:
		return types.MapType
	}
	return newFailure(reasonConversion)
}

// Type implements ref.Val.
func (m *keyedMap[V]) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (m *keyedMap[V]) Value() any { return m.entries }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// get is the value of a key that a map of this package has, or an error value.
func get(m traits.Mapper, key ref.Val) ref.Val {
	v, ok := m.Find(key)
	if !ok {
		return newFailure(reasonNoSuchKey)
	}
	return adapter{}.NativeToValue(v)
}

// keyed is the source of a variable of which expressions can only name the entries
// one by one.
type keyed struct {
	lookup func(Input, string) (any, bool)
	in     Input
}

func (s *keyed) find(key string) (ref.Val, bool) {
	v, ok := s.lookup(s.in, key)
	if !ok {
		return nil, false
	}
	return adapter{}.NativeToValue(v), true
}

func (s *keyed) has(key string) bool {
	_, ok := s.lookup(s.in, key)
	return ok
}

// all is never asked for: the checker refuses what would need it.
func (s *keyed) all() ref.Val { return newFailure(reasonNoSuchOverload) }
