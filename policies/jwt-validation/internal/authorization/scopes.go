// Package authorization decides whether a verified token permits the request: by its scopes,
// and by rules in CEL.
package authorization

import (
	"fmt"
	"slices"

	"policyengine.dev/policies/jwt-validation/internal/settings"
)

// Scopes are the scopes that a token has to have: every one of All, and one of Any where
// there are some.
type Scopes struct {
	All []string `json:"all"`
	Any []string `json:"any"`
}

// Check returns what is wrong with the scopes as parameters.
func (s *Scopes) Check() []error {
	return append(settings.Under(".all", check(s.All)), settings.Under(".any", check(s.Any))...)
}

// check holds scopes to RFC 6749, section 3.3.
func check(scopes []string) (problems []error) {
	for i, s := range scopes {
		ok := s != "" && settings.Quotable(s)
		for _, c := range s {
			ok = ok && c != ' '
		}
		if !ok {
			problems = append(problems, fmt.Errorf("[%d]: %q is not a scope: it has printable ASCII characters only, and no spaces, quotation marks and backslashes", i, s))
		}
	}
	return problems
}

// HeldBy reports whether a token with the given scopes has those that it has to have.
func (s *Scopes) HeldBy(scopes []string) bool {
	for _, want := range s.All {
		if !slices.Contains(scopes, want) {
			return false
		}
	}
	return len(s.Any) == 0 || slices.ContainsFunc(s.Any, func(want string) bool { return slices.Contains(scopes, want) })
}

// Wanted are the scopes that a challenge names.
func (s *Scopes) Wanted() []string { return append(slices.Clone(s.All), s.Any...) }
