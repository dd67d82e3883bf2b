package strictyaml

import (
	"fmt"
	"slices"
	"strings"
)

// maxListed is how many names [Nearest] lists.
const maxListed = 40

// Nearest is a remedy for a name that is not one of those known: the one that
// was probably meant, or else what there is to choose from, at most the first
// forty. It is empty where nothing is known.
func Nearest(name string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	best, least := "", 1+max(2, len(name)/3)
	for _, candidate := range known {
		// A name much longer than any known one is like none of them.
		if len(name) > 2*len(candidate)+least {
			continue
		}
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < least && d < len(candidate) {
			best, least = candidate, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	sorted := slices.Sorted(slices.Values(known))
	if len(sorted) == 1 {
		return "only " + sorted[0] + " is known"
	}
	if n := len(sorted); n > maxListed {
		return fmt.Sprintf("known are %s and %d more", strings.Join(sorted[:maxListed], ", "), n-maxListed)
	}
	return "known are " + strings.Join(sorted[:len(sorted)-1], ", ") + " and " + sorted[len(sorted)-1]
}

// distance is how many bytes must be inserted, deleted or replaced to make
// one string of the other (Levenshtein's).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
