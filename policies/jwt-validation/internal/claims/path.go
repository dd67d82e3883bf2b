package claims

import (
	"encoding/json"
	"errors"
	"strings"
)

// Path leads to a claim: its name, or the names of the objects around it and then
// its own. In parameters it is a string (a name, which may have dots in it) or a
// list of strings.
type Path []string

// maxPath is the number of names in a path.
const maxPath = 16

// UnmarshalJSON implements json.Unmarshaler.
func (p *Path) UnmarshalJSON(b []byte) error {
	var name string
	if json.Unmarshal(b, &name) == nil && string(b) != "null" {
		return p.set([]string{name})
	}
	var names []string
	if json.Unmarshal(b, &names) == nil {
		return p.set(names)
	}
	return errors.New(`a claim is its name, or the list of names that leads to it: ["realm_access", "roles"]`)
}

func (p *Path) set(names []string) error {
	if len(names) == 0 || len(names) > maxPath {
		return errors.New("a claim's path has from 1 to 16 names")
	}
	for _, n := range names {
		if n == "" {
			return errors.New("a claim's name is empty")
		}
	}
	*p = names
	return nil
}

// String is the path with dots between the names.
func (p Path) String() string { return strings.Join(p, ".") }

// Lookup returns what p leads to, and whether it is there.
func (p Path) Lookup(all map[string]any) (any, bool) {
	var v any = all
	for _, name := range p {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[name]; !ok {
			return nil, false
		}
	}
	return v, true
}
