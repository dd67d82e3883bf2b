package strictyaml

import (
	"strconv"
	"strings"
)

// maxKeyShown is how much of a long key a path shows, in bytes.
const maxKeyShown = 64

// PathKey is the path of a mapping's field, given the mapping's: a.b, or
// a["b.c"] where the key is no plain word. The root's path is "".
func PathKey(path, key string) string {
	switch {
	case len(key) > maxKeyShown:
		return path + "[" + strconv.Quote(key[:maxKeyShown]+"...") + "]"
	case !plainKey(key):
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// PathIndex is the path of a list's item, counted from 0, given the list's.
func PathIndex(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// PathJoin is the path that leads down path and then down inner.
func PathJoin(path, inner string) string {
	if path == "" || inner == "" || inner[0] == '[' {
		return path + inner
	}
	return path + "." + inner
}

// cutStep splits the first step, a key or an index, off a path.
func cutStep(path string) (step any, rest string, ok bool) {
	if path[0] != '[' {
		path = strings.TrimPrefix(path, ".")
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		return path[:end], path[end:], end > 0
	}
	if quoted, err := strconv.QuotedPrefix(path[1:]); err == nil {
		key, _ := strconv.Unquote(quoted)
		rest, ok = strings.CutPrefix(path[1+len(quoted):], "]")
		return key, rest, ok
	}
	digits, rest, ok := strings.Cut(path[1:], "]")
	i, err := strconv.Atoi(digits)
	return i, rest, ok && err == nil
}

// path is a linked list from the leaf to the root, so that a walk over a file
// builds no strings for places that nobody reports.
type path struct{ leaf *pathStep }

type pathStep struct {
	parent *pathStep
	key    string
	index  int // -1 for a key
}

func (p path) child(key string) path { return path{&pathStep{p.leaf, key, -1}} }
func (p path) index(i int) path      { return path{&pathStep{p.leaf, "", i}} }

func (p path) String() string { return p.leaf.path() }

func (s *pathStep) path() string {
	switch {
	case s == nil:
		return ""
	case s.index >= 0:
		return PathIndex(s.parent.path(), s.index)
	}
	return PathKey(s.parent.path(), s.key)
}

func plainKey(key string) bool {
	for _, r := range key {
		if r != '-' && r != '_' && r != '$' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return key != ""
}
