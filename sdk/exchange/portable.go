package exchange

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Bounds of a value that leaves the process.
const (
	maxDepth  = 32
	maxValues = 10_000
)

// Portable says why a value cannot leave the process, or returns nil. It can if it consists
// of JSON's Go types, those of a principal's claims: string, float64, json.Number, bool,
// nil, []any and map[string]any. It may be nested 32 levels deep and hold 10,000 values.
func Portable(value any) error {
	left := maxValues
	return portable(value, maxDepth, &left)
}

var (
	errDeep = fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	errMany = fmt.Errorf("it holds more than %d values", maxValues)
	errNaN  = errors.New("it has a json.Number that is not a number")
)

func portable(value any, depth int, left *int) error {
	if depth == 0 {
		return errDeep
	}
	if *left--; *left < 0 {
		return errMany
	}
	switch v := value.(type) {
	case nil, bool, string, float64:
	case json.Number:
		if v == "" || v[0] != '-' && (v[0] < '0' || v[0] > '9') || !json.Valid([]byte(v)) {
			return errNaN
		}
	case []any:
		for _, e := range v {
			if err := portable(e, depth-1, left); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, e := range v {
			if err := portable(e, depth-1, left); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("it holds a %T; string, float64, json.Number, bool, nil, []any and map[string]any are possible", v)
	}
	return nil
}
