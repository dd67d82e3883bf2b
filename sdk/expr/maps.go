package expr

import (
	"reflect"
	"slices"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// source is a map with string keys of which most expressions want an entry or two.
type source interface {
	// find returns the value of a key; an error value counts as found.
	find(key string) (ref.Val, bool)
	// has reports whether there is a value, without making it.
	has(key string) bool
	// all copies the map, or gives an error value where it is over its limits.
	all() ref.Val
}

// lazyMap is the CEL map over a source: looked up in place, and copied only where
// an expression iterates, compares or asks for the size.
type lazyMap struct {
	src source
}

var _ traits.Mapper = (*lazyMap)(nil)

// Find implements traits.Mapper.
func (m *lazyMap) Find(key ref.Val) (ref.Val, bool) {
	if k, ok := key.(types.String); ok {
		return m.src.find(string(k))
	}
	return nil, false
}

// Get implements traits.Indexer.
func (m *lazyMap) Get(key ref.Val) ref.Val {
	if v, ok := m.Find(key); ok {
		return v
	}
	return newFailure(reasonNoSuchKey)
}

// Contains implements traits.Container.
func (m *lazyMap) Contains(key ref.Val) ref.Val {
	k, ok := key.(types.String)
	return types.Bool(ok && m.src.has(string(k)))
}

// Iterator implements traits.Iterable.
func (m *lazyMap) Iterator() traits.Iterator {
	all := m.src.all()
	if it, ok := all.(traits.Iterable); ok {
		return it.Iterator()
	}
	// An iterator cannot fail, but what it yields can be an error.
	return types.NewRefValList(adapter{}, []ref.Val{all}).Iterator()
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
func (m *lazyMap) Equal(other ref.Val) ref.Val {
	if o, ok := other.(*lazyMap); ok {
		other = o.src.all()
		if types.IsError(other) {
			return other
		}
	}
	return m.src.all().Equal(other)
}

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

// sortedMap is a CEL map that iterates in the order of its keys, so that an
// expression gives the same result every time.
type sortedMap struct {
	traits.Mapper
	keys func() []string
}

func newSortedMap[V any](m map[string]V, mapper traits.Mapper) ref.Val {
	if len(m) > MaxElements {
		return newFailure(reasonTooMany)
	}
	return sortedMap{Mapper: mapper, keys: func() []string { return sortedKeys(m) }}
}

// Iterator implements traits.Iterable.
func (m sortedMap) Iterator() traits.Iterator {
	return types.NewStringList(adapter{}, m.keys()).Iterator()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
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
