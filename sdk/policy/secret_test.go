package policy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"policyengine.dev/sdk/policy"
)

const hidden = "s3cret-value"

// TestASecretNeverPrints tries every verb, right and wrong, with every flag, on a
// secret in every place where package fmt may come upon one.
func TestASecretNeverPrints(t *testing.T) {
	s := policy.InlineSecret(hidden)
	type exported struct{ Key policy.Secret }
	type unexported struct{ key policy.Secret }
	type embedded struct{ policy.Secret }
	type nested struct{ inner []map[string]unexported }
	values := map[string]any{
		"itself":              s,
		"a pointer":           &s,
		"an exported field":   exported{s},
		"an unexported field": unexported{s},
		"an embedded field":   embedded{s},
		"a nested field":      nested{[]map[string]unexported{{"k": {s}}}},
		"a slice":             []policy.Secret{s},
		"a map's value":       map[string]policy.Secret{"k": s},
		"a map's key":         map[policy.Secret]string{s: "v"},
		"an array":            [1]any{s},
		"a pointer to both":   &struct{ a, B any }{s, s},
	}
	for where, v := range values {
		for verb := ' ' + 1; verb < 0x7f; verb++ {
			for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "# ", "20", ".3", "20.12"} {
				format := "%" + flags + string(verb)
				if got := fmt.Sprintf(format, v); leaks(got) {
					t.Errorf("%s prints by %q: %s", where, format, got)
				}
			}
		}
		for _, format := range []string{"no verb", "%[2]v", "%*d", "%w", "%w %[1]w", "%!"} {
			for _, got := range []string{fmt.Sprintf(format, v, v), fmt.Errorf(format, v).Error()} {
				if leaks(got) {
					t.Errorf("%s prints by %q: %s", where, format, got)
				}
			}
		}
		if got := fmt.Sprint(v) + fmt.Sprintln(v); leaks(got) {
			t.Errorf("%s prints: %s", where, got)
		}
		if b, err := json.Marshal(v); err == nil && leaks(string(b)) {
			t.Errorf("%s as JSON: %s", where, b)
		}
		for _, handler := range []func(b *bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			log := slog.New(handler(&b))
			log.Info("x", "v", v, slog.Group("g", "v", v))
			log.With("v", v).WithGroup("g").Error("x", "err", fmt.Errorf("%v", v))
			if b.Len() == 0 || leaks(b.String()) {
				t.Errorf("%s in a log: %s", where, b.String())
			}
		}
	}
}

// leaks looks for the value as text, and as %x, %X and %d would print it.
func leaks(s string) bool {
	for _, form := range []string{"%s", "%x", "% x", "%#x", "%d"} {
		piece := strings.Trim(fmt.Sprintf(form, []byte(hidden[:3])), "[]")
		if strings.Contains(strings.ToLower(s), piece) {
			return true
		}
	}
	return false
}

// TestReferencesAreShown proves that an operator can tell which secret is meant.
func TestReferencesAreShown(t *testing.T) {
	for in, want := range map[string]string{
		`{"file": "/run/key"}`: "file:/run/key",
		`{"env": "API_KEY"}`:   "env:API_KEY",
		`"value"`:              "[redacted]",
	} {
		var s policy.Secret
		if err := json.Unmarshal([]byte(in), &s); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d", s); got != want {
			t.Errorf("%s prints as %s, want %s", in, got, want)
		}
		if b, err := json.Marshal(s); err != nil || string(b) != `"`+want+`"` {
			t.Errorf("%s marshals as %s, %v", in, b, err)
		}
	}
}

func TestSecretFromJSON(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want policy.Secret
		ok   bool
	}{
		{`"` + hidden + `"`, policy.InlineSecret(hidden), true},
		{`{"file":"/f"}`, policy.Secret{File: "/f"}, true},
		{`{"env":"E"}`, policy.Secret{Env: "E"}, true},
		{`""`, policy.Secret{}, false},
		{`{}`, policy.Secret{}, false},
		{`null`, policy.Secret{}, false},
		{`12345`, policy.Secret{}, false},
		{`["` + hidden + `"]`, policy.Secret{}, false},
		{`{"file":""}`, policy.Secret{}, false},
		{`{"FILE":"/f"}`, policy.Secret{}, false},
		{`{"file":"/f","env":"E"}`, policy.Secret{}, false},
		{`{"value":"` + hidden + `"}`, policy.Secret{}, false},
	} {
		var s policy.Secret
		err := json.Unmarshal([]byte(tt.in), &s)
		if (err == nil) != tt.ok || !s.Equal(tt.want) {
			t.Errorf("%s gives %v, error %v", tt.in, s, err)
		}
		if err != nil && leaks(err.Error()) {
			t.Errorf("%s: the error tells the value: %v", tt.in, err)
		}
	}
}

func TestSecretValues(t *testing.T) {
	s := policy.InlineSecret(hidden)
	if v, ok := s.Inline(); v != hidden || !ok || s.IsZero() {
		t.Errorf("Inline gives %q, %v; IsZero %v", v, ok, s.IsZero())
	}
	for _, zero := range []policy.Secret{{}, policy.InlineSecret("")} {
		if _, ok := zero.Inline(); ok || !zero.IsZero() {
			t.Error("an empty secret holds something")
		}
	}
	if s := (policy.Secret{File: "/f"}); s.IsZero() {
		t.Error("a reference counts as nothing")
	}
	all := []policy.Secret{{}, s, policy.InlineSecret("other"), {File: "a"}, {File: "b"}, {Env: "a"}}
	for i, a := range all {
		for j, b := range all {
			if a.Equal(b) != (i == j) {
				t.Errorf("Equal of %d and %d is %v", i, j, a.Equal(b))
			}
		}
	}
	if !s.Equal(policy.InlineSecret(strings.Clone(hidden))) {
		t.Error("the same value is not equal")
	}
}
