package expr

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// adapter turns Go values into CEL's and holds them to the limits, each at the
// moment when an expression gets to it.
type adapter struct{}

var _ types.Adapter = adapter{}

// NativeToValue implements types.Adapter.
func (a adapter) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case unread:
		return v.Err
	case ref.Val:
		return v
	case string:
		return stringOf(v)
	case []byte:
		if len(v) > MaxString {
			return newFailure(reasonTooLong)
		}
		return types.Bytes(v)
	case json.Number:
		return numberOf(v)
	case []string:
		if len(v) > MaxElements {
			return newFailure(reasonTooMany)
		}
		return stringList(v)
	case []any:
		if len(v) > MaxElements {
			return newFailure(reasonTooMany)
		}
		return types.NewDynamicList(a, v)
	case map[string]any:
		return newMap(v)
	case map[string]string:
		return newMap(v)
	case float64:
		return doubleOf(v)
	case float32:
		return doubleOf(float64(v))
	case nil, bool, int, int32, int64, uint, uint32, uint64, time.Time, time.Duration:
		return types.DefaultTypeAdapter.NativeToValue(v)
	case []ref.Val, map[ref.Val]ref.Val:
		// The interpreter's own literals.
		return types.DefaultTypeAdapter.NativeToValue(v)
	default:
		return newFailure(reasonUnreadable)
	}
}

func stringOf(s string) ref.Val {
	if len(s) > MaxString {
		return newFailure(reasonTooLong)
	}
	return types.String(s)
}

// stringList is a list of strings of which each is held to the limit.
func stringList(list []string) ref.Val {
	for _, s := range list {
		if len(s) > MaxString {
			return newFailure(reasonTooLong)
		}
	}
	return types.NewStringList(adapter{}, list)
}

func scopesOf(scopes []string) ref.Val { return adapter{}.NativeToValue(scopes) }

func documentOf(m map[string]any) ref.Val { return adapter{}.NativeToValue(m) }

// doubleOf refuses doubles that may stand for several whole numbers: they would be
// equal to constants that they were not before they became doubles.
func doubleOf(f float64) ref.Val {
	if inexact(f) {
		return newFailure(reasonInexact)
	}
	return types.Double(f)
}

// inexact reports whether a double may stand for several of the whole numbers that
// CEL's int and uint have.
func inexact(f float64) bool {
	f = math.Abs(f)
	return 1<<53 <= f && f <= 1<<64
}

// numberOf keeps whole numbers whole where a decoder was told to keep numbers as
// they were written.
func numberOf(n json.Number) ref.Val {
	if i, err := n.Int64(); err == nil {
		return types.Int(i)
	}
	if u, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return types.Uint(u)
	}
	if f, err := n.Float64(); err == nil {
		return doubleOf(f)
	}
	return newFailure(reasonUnreadable)
}

// maxDepth is how deep a value may be nested that a ValueProgram gives.
const maxDepth = 32

// nativeOf is a copy of a CEL value in Go's types. It reports false for values
// that have none, and for those over the limits.
func nativeOf(v ref.Val, depth int) (any, bool) {
	if depth == 0 {
		return nil, false
	}
	switch v := v.(type) {
	case types.Null:
		return nil, true
	case types.Bool:
		return bool(v), true
	case types.Int:
		return int64(v), true
	case types.Uint:
		return uint64(v), true
	case types.Double:
		return float64(v), true
	case types.String:
		return string(v), true
	case types.Bytes:
		return []byte(v), true
	case types.Timestamp:
		return v.Time, true
	case types.Duration:
		return v.Duration, true
	case *types.Optional:
		if !v.HasValue() {
			return nil, true
		}
		return nativeOf(v.GetValue(), depth-1)
	case traits.Lister:
		return nativeList(v, depth)
	case traits.Mapper:
		return nativeMap(v, depth)
	default:
		return nil, false
	}
}

func nativeList(l traits.Lister, depth int) (any, bool) {
	list := []any{}
	for it := l.Iterator(); it.HasNext() == types.True; {
		v, ok := nativeOf(it.Next(), depth-1)
		if !ok {
			return nil, false
		}
		list = append(list, v)
	}
	return list, true
}

func nativeMap(m traits.Mapper, depth int) (any, bool) {
	all := map[string]any{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		k, ok := key.(types.String)
		if !ok {
			return nil, false
		}
		v, ok := nativeOf(m.Get(key), depth-1)
		if !ok {
			return nil, false
		}
		all[string(k)] = v
	}
	return all, true
}
