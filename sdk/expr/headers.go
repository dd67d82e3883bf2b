package expr

import (
	"strings"

	"github.com/google/cel-go/common/types/ref"
)

// headerValue is what the header maps have under a name in lower case: the one
// value, or all of them joined as RFC 9110, section 5.3, and for cookies RFC 9113,
// section 8.2.3, permit. Pseudo-headers are not there.
func headerValue(h Headers, name string) (string, bool) {
	if isPseudo(name) {
		return "", false
	}
	first, ok := h.Get(name)
	if !ok || h.Count(name) == 1 {
		return first, ok
	}
	return joinValues(h, name), true
}

func hasHeader(h Headers, name string) bool {
	if isPseudo(name) {
		return false
	}
	_, ok := h.Get(name)
	return ok
}

func isPseudo(name string) bool { return name == "" || name[0] == ':' }

func joinValues(h Headers, name string) string {
	sep := ","
	if name == "cookie" {
		sep = "; "
	}
	var b strings.Builder
	first := true
	for v := range h.Values(name) {
		if !first {
			b.WriteString(sep)
		}
		first = false
		b.WriteString(v)
		if b.Len() > MaxString {
			break // it is refused anyway
		}
	}
	return b.String()
}

// headerSource is the source of the header variables.
type headerSource struct{ h Headers }

func (s *headerSource) find(key string) (ref.Val, bool) {
	v, ok := headerValue(s.h, lowerASCII(key))
	if !ok {
		return nil, false
	}
	return stringOf(v), true
}

func (s *headerSource) has(key string) bool { return hasHeader(s.h, lowerASCII(key)) }

func (s *headerSource) all() ref.Val {
	all := map[string]string{}
	for name := range s.h.All() {
		if _, seen := all[name]; seen || isPseudo(name) {
			continue
		}
		if len(all) == MaxElements {
			return newFailure(reasonTooMany)
		}
		v, _ := headerValue(s.h, name)
		all[name] = v
	}
	return &keyedMap[string]{entries: all, fold: lowerASCII}
}
