package cookies_test

import (
	"slices"
	"strings"
	"testing"

	"policyengine.dev/policies/internal/cookies"
)

func TestValueAndWithout(t *testing.T) {
	for _, c := range []struct {
		name, fields string // "|" stands between fields
		value        string
		ok           bool
		rest         string
	}{
		{"no cookie", "", "", false, ""},
		{"another cookie", "a=b", "", false, "a=b"},
		{"a longer name", "keys=b", "", false, "keys=b"},
		{"the only cookie", "key=v", "v", true, ""},
		{"between others", "a=b; key=v;c=d", "v", true, "a=b; c=d"},
		{"in the second field", "a=b|key=v; c", "v", true, "a=b; c"},
		{"twice", "key=v; key=w", "v", true, ""},
		{"in quotation marks", `key="v"`, "v", true, ""},
		{"one quotation mark", `key="`, `"`, true, ""},
		{"a value with =", "key=a=b", "a=b", true, ""},
		{"no value", "key; a", "", true, "a"},
		{"only separators", ";; ;", "", false, ""},
		{"another case", "Key=v", "", false, "Key=v"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fields := slices.Values(strings.Split(c.fields, "|"))
			if v, ok := cookies.Value(fields, "key"); v != c.value || ok != c.ok {
				t.Errorf("the value is %q, %v; want %q, %v", v, ok, c.value, c.ok)
			}
			if rest := cookies.Without(fields, "key"); rest != c.rest {
				t.Errorf("the others are %q, want %q", rest, c.rest)
			}
		})
	}
}

// FuzzWithout proves that a cookie is not found again once it has been taken out.
func FuzzWithout(f *testing.F) {
	f.Add("a=b; key=c; key")
	f.Fuzz(func(t *testing.T, field string) {
		rest := cookies.Without(slices.Values([]string{field}), "key")
		if v, ok := cookies.Value(slices.Values([]string{rest}), "key"); ok {
			t.Errorf("%q keeps %q", field, v)
		}
	})
}
