package bench_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"policyengine.dev/tools/envoy"
	"policyengine.dev/tools/runfiles"
)

// program is the path of a program that the variable names in Bazel.
func program(t *testing.T, variable string) string {
	t.Helper()
	name := os.Getenv(variable)
	if name == "" {
		if os.Getenv("TEST_SRCDIR") != "" {
			t.Fatalf("in Bazel, %s has to be set", variable)
		}
		t.Skipf("outside Bazel, which sets %s: run ./bazelw test //tools/bench/...", variable)
	}
	path, err := runfiles.Path(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, into any, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("running %s: %v", name, err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%s printed %s: %v", name, out, err)
	}
}

// TestExtProc proves that every chain is measured and that no stream fails. How fast
// they are is not for a test to say.
func TestExtProc(t *testing.T) {
	var all []struct {
		Chain         string
		Ratio         float64
		Engine, Floor struct{ Streams, Failed int64 }
	}
	run(t, &all, program(t, "BENCH_EXTPROC"), "-engine", program(t, "BENCH_ENGINE"), "-floor", program(t, "BENCH_FLOOR"),
		"-format", "json", "-rounds", "1", "-window", "300ms")
	if len(all) != 13 {
		t.Errorf("%d chains measured, want 13", len(all))
	}
	for _, m := range all {
		if m.Engine.Streams == 0 || m.Floor.Streams == 0 || m.Engine.Failed+m.Floor.Failed > 0 {
			t.Errorf("%+v", m)
		}
	}
}

// TestGateway proves that requests come through a chain of five policies with many of
// them in flight at one moment, and not one fails.
func TestGateway(t *testing.T) {
	path := envoy.Binary(t)
	var result struct {
		Latency []struct{ Requests int }
		Flight  struct{ InFlight, Failed int }
	}
	run(t, &result, program(t, "BENCH_GATEWAY"), "-engine", program(t, "BENCH_ENGINE"), "-envoy", path,
		"-format", "json", "-rounds", "1", "-window", "100ms", "-in-flight", "2000")
	if len(result.Latency) != 2 || result.Latency[0].Requests == 0 || result.Latency[1].Requests == 0 {
		t.Errorf("latency %+v", result.Latency)
	}
	if result.Flight.InFlight != 2000 || result.Flight.Failed != 0 {
		t.Errorf("in flight %+v", result.Flight)
	}
}

// TestConfig proves that everything about a configuration is measured. What comes out is for quiet machines.
func TestConfig(t *testing.T) {
	var r struct {
		ReadyNs, ResidentBytes, LiveHeapBytes, RouteAddedNs, ParameterChangedNs, OneChainCPUNs, ManyChainsCPUNs int64
		QuietP999Ns, ReloadingP999Ns, Reloads, MetricsBytes, DumpBytes                                          int64
	}
	run(t, &r, program(t, "BENCH_CONFIG"), "-engine", program(t, "BENCH_ENGINE"), "-format", "json",
		"-chains", "20", "-routes", "40", "-per-file", "10", "-rounds", "1", "-window", "500ms", "-idle", "0")
	for name, n := range map[string]int64{
		"ready": r.ReadyNs, "resident": r.ResidentBytes, "live": r.LiveHeapBytes, "route added": r.RouteAddedNs, "parameter changed": r.ParameterChangedNs,
		"one chain": r.OneChainCPUNs, "many chains": r.ManyChainsCPUNs, "quiet": r.QuietP999Ns, "reloading": r.ReloadingP999Ns, "reloads": r.Reloads,
		"metrics": r.MetricsBytes, "dump": r.DumpBytes,
	} {
		if n <= 0 {
			t.Errorf("%s is not measured: %d", name, n)
		}
	}
}
