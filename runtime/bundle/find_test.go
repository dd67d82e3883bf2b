package bundle_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/runtime/bundle"
)

// TestFind proves that a manifest is found between other bytes, also after text that only begins like one.
func TestFind(t *testing.T) {
	text := encode(t, valid())
	binary := slices.Concat([]byte("\x7fELF"), text[:40], []byte("\x00"), text, []byte(`{"more"`))
	got, err := bundle.Find(binary)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(valid(), got); diff != "" {
		t.Error(diff)
	}
	for name, binary := range map[string][]byte{
		"nothing":             nil,
		"after 16 beginnings": slices.Concat(bytes.Repeat(append(bytes.Clone(text[:40]), "[["...), 16), text),
		"no manifest":         []byte("\x7fELF"),
		"the end is cut off":  text[:len(text)-1],
		"a manifest too long": slices.Concat(text[:len(text)-1], bytes.Repeat([]byte(" "), bundle.MaxSize), []byte("}")),
	} {
		if _, err := bundle.Find(binary); !errors.Is(err, bundle.ErrNotFound) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := bundle.Find([]byte(strings.Replace(string(text), "payments", "", 1))); err == nil || !strings.Contains(err.Error(), "bundle: missing") {
		t.Errorf("got %v", err)
	}
}
