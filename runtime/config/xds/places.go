package xds

import (
	"strconv"
	"strings"

	"policyengine.dev/runtime/worker"
)

// places are where the paths of a configuration stand: in which resource, and where in
// that. It implements worker.Positions, and is immutable.
type places struct {
	chains, routes []string
	// broken says that a chain could not be decoded.
	broken bool
}

// Position implements worker.Positions.
func (p places) Position(path string) (worker.Position, bool) {
	for _, list := range []struct {
		prefix string
		kind   kind
		names  []string
	}{{"chains[", chains, p.chains}, {"routes[", routes, p.routes}} {
		rest, ok := strings.CutPrefix(path, list.prefix)
		if !ok {
			continue
		}
		digits, field, _ := strings.Cut(rest, "]")
		i, err := strconv.Atoi(digits)
		if err != nil || i < 0 || i >= len(list.names) {
			return worker.Position{}, false
		}
		return worker.Position{Source: place(list.kind, list.names[i]), Field: strings.TrimPrefix(field, ".")}, true
	}
	if path == "onUnknownRoute" {
		return worker.Position{Source: place(defaults, DefaultsName), Field: path}, true
	}
	return worker.Position{}, false
}
