package engine

import (
	"math"
	"testing"
	"testing/fstest"

	"policyengine.dev/runtime/config"
)

func TestGroupLimit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"no control groups", nil, math.MaxInt64},
		{"version 2, in a container", map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "268435456\n"}, 256 << 20},
		{"version 2, without a limit", map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, math.MaxInt64},
		{"version 2, the limit of a group above", map[string]string{
			"proc/self/cgroup":                           "0::/a.slice/b.service\n",
			"sys/fs/cgroup/a.slice/memory.max":           "1000\n",
			"sys/fs/cgroup/a.slice/b.service/memory.max": "2000\n"}, 1000},
		{"version 2, a path of the host's", map[string]string{
			"proc/self/cgroup": "0::/kubepods/pod1/c1\n", "sys/fs/cgroup/memory.max": "3000\n"}, 3000},
		{"version 1", map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "4000\n"}, 4000},
		{"version 1, without a limit", map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, math.MaxInt64},
		{"what is not a number", map[string]string{
			"proc/self/cgroup": "nonsense\n0::/\n", "sys/fs/cgroup/memory.max": "-5\n"}, math.MaxInt64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, content := range tt.files {
				root[name] = &fstest.MapFile{Data: []byte(content)}
			}
			if got := groupLimit(root); got != tt.want {
				t.Errorf("the limit is %d, want %d", got, tt.want)
			}
		})
	}
}

func TestBodyMemoryAsConfigured(t *testing.T) {
	if got := bodyMemory(config.Engine{Limits: config.Limits{Memory: 12345}}); got != 12345 {
		t.Errorf("%d bytes, want what the file says", got)
	}
	if got := bodyMemory(config.DefaultEngine()); got <= 0 || got == math.MaxInt64 {
		t.Errorf("%d bytes by default", got)
	}
}

func TestTheCollectorIsThriftyWithManyBodies(t *testing.T) {
	for bodies, want := range map[int64]int{0: usualPercent, thriftyAbove: usualPercent, thriftyAbove + 1: thriftyPercent} {
		if got := gcPercent(bodies); got != want {
			t.Errorf("with %d bytes of bodies it is %d, want %d", bodies, got, want)
		}
	}
}

// TestWhenMemoryIsReturned proves that memory is returned once large bodies are gone, and
// neither while they come and go nor again and again.
func TestWhenMemoryIsReturned(t *testing.T) {
	const mib = 1 << 20
	var r returner
	for i, tt := range []struct {
		peak int64
		due  bool
	}{
		{0, false}, {20 * mib, false}, {0, false}, // little is not worth it
		{400 * mib, false}, {300 * mib, false}, {150 * mib, false}, // in use
		{90 * mib, true}, {90 * mib, false}, {80 * mib, false},
		{0, true}, {0, false}, {0, false},
	} {
		if got := r.due(tt.peak); got != tt.due {
			t.Errorf("%d: with %d MiB: %v, want %v", i, tt.peak/mib, got, tt.due)
		}
	}
}
