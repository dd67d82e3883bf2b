package ci

import "testing"

func TestRaceable(t *testing.T) {
	const starts, group, none = "package x\nfunc f() { go f() }\n", "package x\nfunc f() { wg.Go(f) }\n", "package x\nfunc f() { f() }\n"
	tests := []struct {
		name, file, src string
		want            bool
	}{
		{"a go statement", "tools/offline/once/once.go", starts, true},
		{"a group of goroutines", "tools/offline/once/once.go", group, true},
		{"no goroutine", "tools/offline/once/once.go", none, false},
		{"a part that is raced as a whole", "runtime/worker/worker.go", starts, false},
		{"the load generator, which is raced anyway", "tools/bench/load/load.go", starts, false},
		{"a part that is left out", "envoy_test/cases/run.go", starts, false},
		{"another part whose name begins alike", "runtimes/x.go", starts, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := raceable(tt.file, []byte(tt.src))
			if err != nil || got != tt.want {
				t.Errorf("raceable = %t, %v; want %t", got, err, tt.want)
			}
		})
	}
	if _, err := raceable("x.go", []byte("not Go")); err == nil {
		t.Error("what is not Go passed")
	}
}
