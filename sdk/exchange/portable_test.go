package exchange_test

import (
	"encoding/json"
	"strings"
	"testing"

	"policyengine.dev/sdk/exchange"
)

func TestPortable(t *testing.T) {
	deep := func(levels int) (v any) {
		for range levels {
			v = []any{v}
		}
		return v
	}
	loop := []any{nil}
	loop[0] = loop
	for name, tc := range map[string]struct {
		value any
		want  string // empty for a value that is portable
	}{
		"nothing":                   {nil, ""},
		"every type":                {map[string]any{"a": []any{"s", 1.5, true, nil, json.Number("12345678901234567890")}}, ""},
		"31 levels around a value":  {deep(31), ""},
		"32 levels around a value":  {deep(32), "nested deeper than 32 levels"},
		"a list that holds itself":  {loop, "nested deeper"},
		"too many values":           {make([]any, 10_000), "more than 10000 values"},
		"an int":                    {7, "it holds a int"},
		"a struct within a map":     {map[string]any{"a": struct{}{}}, "it holds a struct {}"},
		"a list of strings":         {[]string{"a"}, "it holds a []string"},
		"a json.Number that is not": {json.Number(`"1"`), "json.Number that is not a number"},
		"an empty json.Number":      {json.Number(""), "json.Number that is not a number"},
	} {
		err := exchange.Portable(tc.value)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
