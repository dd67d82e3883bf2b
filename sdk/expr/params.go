package expr

import (
	"net/url"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// paramsOf is the map of a target's query parameters.
func paramsOf(target string) ref.Val {
	query := queryOf(target)
	if len(query) > MaxString {
		return newFailure(reasonTooLong)
	}
	all := map[string][]string{}
	n := 0
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if pair == "" {
			continue
		}
		if n++; n > MaxElements {
			return newFailure(reasonTooMany)
		}
		name, value, _ := strings.Cut(pair, "=")
		name = unescapeParam(name)
		all[name] = append(all[name], unescapeParam(value))
	}
	return newSortedMap(all, types.NewDynamicMap(adapter{}, all))
}

// hasParam reports whether a target's query has a parameter of that name.
func hasParam(target, name string) bool {
	query := queryOf(target)
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if pair == "" {
			continue
		}
		if key, _, _ := strings.Cut(pair, "="); unescapeParam(key) == name {
			return true
		}
	}
	return false
}

// unescapeParam decodes a name or value of a query as the URL standard's form
// parser does, for which nothing is invalid: what is no escape stays as it is.
func unescapeParam(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case s[i] == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			b = append(b, byte(hexDigit(s[i+1])<<4|hexDigit(s[i+2])))
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
