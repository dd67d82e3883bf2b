package ci

import (
	"fmt"
	"maps"
	"testing"
)

// TestCompareModules proves that a module that is missing, in another version or too many is a failure, and that a list that
// is too short to be right is one.
func TestCompareModules(t *testing.T) {
	want := map[string]string{}
	for i := range 10 {
		want[fmt.Sprintf("example.com/%d", i)] = "v1.0.0"
	}
	changed := func(change func(map[string]string)) map[string]string {
		got := maps.Clone(want)
		change(got)
		return got
	}
	for name, tt := range map[string]struct {
		want, got map[string]string
		failed    int
	}{
		"the same":        {want, want, 0},
		"one is missing":  {want, changed(func(m map[string]string) { delete(m, "example.com/3") }), 1},
		"one too many":    {want, changed(func(m map[string]string) { m["example.com/x"] = "v1.0.0" }), 1},
		"another version": {want, changed(func(m map[string]string) { m["example.com/3"] = "v1.0.1" }), 1},
		"nothing":         {nil, nil, 1},
	} {
		if got := compareModules("it", tt.want, tt.got); got.Failed != tt.failed {
			t.Errorf("%s: %+v, want %d failures", name, got, tt.failed)
		}
	}
}
