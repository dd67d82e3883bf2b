package expr

import (
	"net/url"
	"strings"

	"github.com/google/cel-go/common/types/ref"
)

// eachParam calls yield with each parameter of a target's query, decoded as the
// URL standard has it for forms, until that returns false. As for policies, a
// parameter of which name or value cannot be decoded is not there.
func eachParam(target string, yield func(name, value string) bool) {
	query := queryOf(target)
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			continue
		}
		if value, err = url.QueryUnescape(value); err != nil {
			continue
		}
		if !yield(name, value) {
			return
		}
	}
}

// paramsOf is the map of a target's query parameters.
func paramsOf(target string) ref.Val {
	if len(target) > MaxString {
		return newFailure(reasonTooLong)
	}
	all := map[string][]string{}
	n := 0
	eachParam(target, func(name, value string) bool {
		all[name] = append(all[name], value)
		n++
		return n <= MaxElements
	})
	if n > MaxElements {
		return newFailure(reasonTooMany)
	}
	return newMap(all)
}

// hasParam reports whether a target's query has a parameter of that name. It
// reports ok as false where paramsOf would be an error.
func hasParam(target, name string) (has, ok bool) {
	if len(target) > MaxString {
		return false, false
	}
	n := 0
	eachParam(target, func(key, _ string) bool {
		has = has || key == name
		n++
		return n <= MaxElements
	})
	return has, n <= MaxElements
}
