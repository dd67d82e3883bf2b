package negotiate

import (
	"fmt"
	"regexp"
)

// Expressions are mutation_rules' allow_expression and disallow_expression: which
// headers may be changed, and which may not, whatever the other rules say. They are
// declared to the engine; a stamp has no room for them. The zero value says nothing.
// Safe for concurrent use.
type Expressions struct{ allow, disallow *regexp.Regexp }

// NewExpressions returns the expressions (RE2), of which either may be empty: none.
func NewExpressions(allow, disallow string) (e Expressions, err error) {
	if e.allow, err = whole(allow); err != nil {
		return Expressions{}, fmt.Errorf("compiling allow_expression: %w", err)
	}
	if e.disallow, err = whole(disallow); err != nil {
		return Expressions{}, fmt.Errorf("compiling disallow_expression: %w", err)
	}
	return e, nil
}

// whole compiles an expression that has to match a whole name, as Envoy's do.
func whole(expression string) (*regexp.Regexp, error) {
	if expression == "" {
		return nil, nil
	}
	return regexp.Compile(`^(?:` + expression + `)$`)
}

// Decide reports whether a header, its name in lower case, may be changed, and
// whether the expressions say so at all. What is disallowed is not allowed by the
// other.
func (e *Expressions) Decide(name string) (allowed, decided bool) {
	switch {
	case e.disallow != nil && e.disallow.MatchString(name):
		return false, true
	case e.allow != nil && e.allow.MatchString(name):
		return true, true
	}
	return false, false
}
