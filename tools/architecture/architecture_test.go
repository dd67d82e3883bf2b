package architecture_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"policyengine.dev/tools/architecture"
)

// graph reads the import graph: in Bazel the one that the build has written, outside
// of it what the go command knows.
func graph(t *testing.T) []architecture.Edge {
	t.Helper()
	var lines []string
	if file := os.Getenv("IMPORT_GRAPH"); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines = strings.Split(strings.TrimSpace(string(b)), "\n")
	} else {
		if os.Getenv("TEST_SRCDIR") != "" {
			t.Fatal("in Bazel, IMPORT_GRAPH has to name the graph")
		}
		list := exec.Command("go", "list", "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}`, architecture.Module+"...")
		b, err := list.Output()
		if err != nil {
			t.Fatalf("listing packages: %v", err)
		}
		lines = strings.Split(strings.TrimSpace(string(b)), "\n")
	}
	var edges []architecture.Edge
	for _, l := range lines {
		if from, to, ok := strings.Cut(l, " "); ok {
			edges = append(edges, architecture.Edge{Importer: from, Imported: to})
		}
	}
	return edges
}

func TestArrowsGoOneWay(t *testing.T) {
	edges := graph(t)
	seen := map[string]bool{}
	for _, e := range edges {
		for _, part := range []string{"sdk/policy", "runtime/worker", "runtime/kernel", "runtime/extproc", "runtime/inmemory", "runtime/config", "tools/pectl/", "policies/"} {
			if strings.HasPrefix(e.Importer, architecture.Module+part) {
				seen[part] = true
			}
		}
	}
	// A graph that lacks what the rules are about would prove nothing.
	if len(seen) != 8 {
		t.Fatalf("the graph shows only %v", seen)
	}
	for _, line := range architecture.Check(edges) {
		t.Error(line)
	}
}

func TestCheck(t *testing.T) {
	m := architecture.Module
	for name, tc := range map[string]struct {
		from, to string
		wrong    bool
	}{
		"a policy may use the SDK":                  {m + "policies/jwt/v1.0.0", m + "sdk/policy", false},
		"a policy may not use the runtime":          {m + "policies/jwt/v1.0.0", m + "runtime/worker", true},
		"a policy may not use Envoy's protobufs":    {m + "policies/jwt/v1.0.0", "github.com/envoyproxy/go-control-plane/envoy/config/core/v3", true},
		"the SDK may not use the runtime":           {m + "sdk/policy", m + "runtime/telemetry", true},
		"the SDK may not use gRPC":                  {m + "sdk/policytest", "google.golang.org/grpc", true},
		"the worker may not use the kernel":         {m + "runtime/worker", m + "runtime/kernel", true},
		"the worker may not use ext_proc":           {m + "runtime/worker", "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3", true},
		"the worker may use telemetry":              {m + "runtime/worker", m + "runtime/telemetry", false},
		"telemetry may not use the worker":          {m + "runtime/telemetry", m + "runtime/worker", true},
		"the kernel may use the worker":             {m + "runtime/kernel", m + "runtime/worker", false},
		"the kernel may not use a policy":           {m + "runtime/kernel", m + "policies/set-header/v1.0.0", true},
		"the kernel may not use the config":         {m + "runtime/kernel", m + "runtime/config", true},
		"the engine may use everything of runtime":  {m + "runtime/engine", m + "runtime/config", false},
		"the engine may not use a policy":           {m + "runtime/engine", m + "policies/set-header/v1.0.0", true},
		"the kernel may not use gRPC":               {m + "runtime/kernel", "google.golang.org/grpc/status", true},
		"the kernel may not use a carrier":          {m + "runtime/kernel", m + "runtime/extproc", true},
		"extproc may use the kernel":                {m + "runtime/extproc", m + "runtime/kernel", false},
		"extproc may use gRPC":                      {m + "runtime/extproc", "google.golang.org/grpc", false},
		"the carriers may not use each other":       {m + "runtime/inmemory", m + "runtime/extproc", true},
		"inmemory may not use Envoy's protobufs":    {m + "runtime/inmemory", "github.com/envoyproxy/go-control-plane/envoy/config/core/v3", true},
		"the runtime may not serve a control plane": {m + "runtime/engine", "github.com/envoyproxy/go-control-plane/pkg/server/v3", true},
		"only the engine uses sources":              {m + "runtime/admin", m + "runtime/config", true},
		"pectl may use what is named":               {m + "tools/pectl/x", m + "runtime/extproc/negotiate", false},
		"pectl may not use the kernel":              {m + "tools/pectl/x", m + "runtime/kernel", true},
		"pectl may not use the engine":              {m + "tools/pectl/x", m + "runtime/engine", true},
		"pectl may use the SDK":                     {m + "tools/pectl/x", m + "sdk/definition", false},
		"others may use what they like":             {"example.com/x", m + "runtime/kernel", false},
	} {
		if got := len(architecture.Check([]architecture.Edge{{Importer: tc.from, Imported: tc.to}})) > 0; got != tc.wrong {
			t.Errorf("%s: refused is %v", name, got)
		}
	}
}
