package claims

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"policyengine.dev/policies/jwt-validation/internal/strictjson"
)

// Requirement is a claim that a token has to have.
type Requirement struct {
	// Claim says which.
	Claim Path `json:"claim"`
	// OneOf are the values of which it has to be one, or, being a list, to
	// have one. Empty: any value but null.
	OneOf Values `json:"oneOf"`
}

// Values are strings, booleans and numbers, the latter as [strictjson.Number] has
// them, as in claims: two numbers that differ never compare equal.
type Values []any

// UnmarshalJSON implements json.Unmarshaler.
func (v *Values) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var list []any
	if err := d.Decode(&list); err != nil {
		return err
	}
	for i, e := range list {
		n, ok := e.(json.Number)
		if !ok {
			continue
		}
		if list[i], ok = strictjson.Number(n.String()); !ok {
			return fmt.Errorf("[%d]: the number %s is too large", i, n)
		}
	}
	*v = list
	return nil
}

// CheckRequirements returns what is wrong with list, each problem with the index in
// front.
func CheckRequirements(list []Requirement) []error {
	var problems []error
	for i := range list {
		if len(list[i].Claim) == 0 {
			problems = append(problems, fmt.Errorf("[%d].claim: %w", i, errors.New("it is missing")))
		}
		for j, v := range list[i].OneOf {
			if !isScalar(v) {
				problems = append(problems, fmt.Errorf("[%d].oneOf[%d]: must be a string, a number or a boolean", i, j))
			}
		}
	}
	return problems
}

func (q *Requirement) check(all map[string]any) error {
	v, ok := q.Claim.Lookup(all)
	if !ok || v == nil {
		return missing(q.Claim.String())
	}
	if len(q.OneOf) == 0 || q.accepts(v) {
		return nil
	}
	if list, ok := v.([]any); ok && slices.ContainsFunc(list, q.accepts) {
		return nil
	}
	return &problem{ErrValue, q.Claim.String(), "it has none of the accepted values"}
}

// accepts looks at scalars only: other types cannot be compared.
func (q *Requirement) accepts(v any) bool { return isScalar(v) && slices.Contains(q.OneOf, v) }

func isScalar(v any) bool {
	switch v.(type) {
	case string, float64, json.Number, bool:
		return true
	}
	return false
}
