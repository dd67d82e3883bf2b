package architecture

import (
	"maps"
	"slices"
	"strings"
)

// parts are the directories whose packages the drawing shows, one box for each directory
// below them; those of "policies/" are one box.
var parts = []string{"runtime/", "sdk/"}

// box returns the box of the drawing that a package belongs to, if it has one.
func box(path string) (string, bool) {
	own, ok := strings.CutPrefix(path, Module)
	if !ok {
		return "", false
	}
	if strings.HasPrefix(own, "policies/") {
		return "policies", true
	}
	for _, p := range parts {
		if below, ok := strings.CutPrefix(own, p); ok {
			name, _, _ := strings.Cut(below, "/")
			return p + name, true
		}
	}
	return "", false
}

// Draw returns a drawing of the packages of the runtime, the SDK and the policies as text:
// a line for each box, above those that it imports, with the boxes to which its arrows
// lead. Arrows that follow from others are left out: if a imports b and b imports c, that a
// imports c is not drawn. There must be no cycle.
func Draw(edges []Edge) string {
	imports := map[string]map[string]bool{}
	add := func(from string) map[string]bool {
		if imports[from] == nil {
			imports[from] = map[string]bool{}
		}
		return imports[from]
	}
	for _, e := range edges {
		from, ok := box(e.Importer)
		to, within := box(e.Imported)
		if !ok || strings.HasPrefix(e.Importer, Module+"policies/") && from == to {
			continue
		}
		add(from)
		if within && from != to {
			add(to)
			imports[from][to] = true
		}
	}
	heights := heights(imports)
	boxes := slices.SortedFunc(maps.Keys(imports), func(a, b string) int {
		if heights[a] != heights[b] {
			return heights[b] - heights[a]
		}
		return strings.Compare(a, b)
	})
	width := 0
	for _, b := range boxes {
		width = max(width, len(b))
	}
	var out strings.Builder
	for i, b := range boxes {
		if i > 0 && heights[b] != heights[boxes[i-1]] {
			out.WriteString(strings.Repeat(" ", width/2) + "│\n")
		}
		out.WriteString(b)
		if direct := reduced(imports, b); len(direct) > 0 {
			out.WriteString(strings.Repeat(" ", width-len(b)) + " ──► " + strings.Join(direct, ", "))
		}
		out.WriteString("\n")
	}
	return out.String()
}

// heights are the lengths of the longest ways down.
func heights(imports map[string]map[string]bool) map[string]int {
	all := map[string]int{}
	var height func(string) int
	height = func(b string) int {
		if h, ok := all[b]; ok {
			return h
		}
		h := 0
		all[b] = h // a cycle ends here
		for to := range imports[b] {
			h = max(h, height(to)+1)
		}
		all[b] = h
		return h
	}
	for b := range imports {
		height(b)
	}
	return all
}

// reduced are the boxes that b imports and that none of the others that it imports leads to.
func reduced(imports map[string]map[string]bool, b string) (direct []string) {
	var leads func(from, to string, seen map[string]bool) bool
	leads = func(from, to string, seen map[string]bool) bool {
		if seen[from] {
			return false
		}
		seen[from] = true
		for next := range imports[from] {
			if next == to || leads(next, to, seen) {
				return true
			}
		}
		return false
	}
	for to := range imports[b] {
		follows := false
		for other := range imports[b] {
			follows = follows || other != to && leads(other, to, map[string]bool{b: true})
		}
		if !follows {
			direct = append(direct, to)
		}
	}
	slices.Sort(direct)
	return direct
}
