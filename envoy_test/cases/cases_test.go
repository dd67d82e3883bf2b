package cases_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"policyengine.dev/envoy_test/cases"
	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/runtime/worker"
)

var update = flag.Bool("update", false, "write docs/ext_proc.md again")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// goTests are the tests that lines.yaml may name, so that each of them is there.
var goTests = map[string]func(*testing.T){"TestAnswersForWorkers": TestAnswersForWorkers}

func suites(t *testing.T) []cases.Suite {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no suites: %v", err)
	}
	var all []cases.Suite
	for _, file := range files {
		s, err := cases.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func TestEveryLineIsKnownAndShown(t *testing.T) {
	groups, err := cases.Lines()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, s := range suites(t) {
		for _, x := range s.Exchanges {
			for _, line := range append(s.Lines[:len(s.Lines):len(s.Lines)], x.Lines...) {
				shown[line] = true
			}
		}
	}
	known := map[string]bool{}
	for _, g := range groups {
		for _, l := range g.Lines {
			_, tested := goTests[l.Test]
			switch {
			case l.Test != "" && !tested:
				t.Errorf("line %s is shown by %s, which is not among goTests", l.ID, l.Test)
			case tested && (shown[l.ID] || l.Unseen != ""):
				t.Errorf("line %s has a test, and cases or a reason for not being seen as well", l.ID)
			case known[l.ID]:
				t.Errorf("line %s is there twice", l.ID)
			case shown[l.ID] && l.Unseen != "":
				t.Errorf("line %s is shown, though it says why it is not", l.ID)
			case !shown[l.ID] && !tested && l.Unseen == "":
				t.Errorf("line %s is shown by no case: %s", l.ID, l.Says)
			}
			known[l.ID] = true
		}
	}
	for line := range shown {
		if !known[line] {
			t.Errorf("cases show line %s, which is not in lines.yaml", line)
		}
	}
}

func TestEveryReasonHasALine(t *testing.T) {
	groups, err := cases.Lines()
	if err != nil {
		t.Fatal(err)
	}
	for r := worker.Reason(0); r < worker.ReasonCount; r++ {
		told := slices.ContainsFunc(groups, func(g cases.Group) bool {
			return slices.ContainsFunc(g.Lines, func(l cases.Line) bool {
				return strings.HasPrefix(l.Says, r.String()+" (") && strings.Contains(l.Says, strconv.Itoa(r.Status()))
			})
		})
		if !told {
			t.Errorf("no line says %s (%d)", r, r.Status())
		}
	}
}

func TestDocumentation(t *testing.T) {
	const file = "../../docs/ext_proc.md"
	groups, err := cases.Lines()
	if err != nil {
		t.Fatal(err)
	}
	want := cases.Documentation(groups, suites(t))
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/ext_proc.md is not what the cases say; renew it: go test ./envoy_test/cases -run TestDocumentation -update")
	}
}

func TestSuitesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"a field that nobody knows": {"about: x\nchains: {}\nlines: [1a]\nexchanges: [{name: a, want: {status: 200, statuss: 1}}]", `unknown field; did you mean "status"?`},
		"two of a name":             {"about: x\nchains: {}\nlines: [1a]\nexchanges: [{name: a, want: {status: 200}}, {name: a, want: {status: 200}}]", "a second exchange of this name"},
		"one that shows nothing":    {"about: x\nchains: {}\nexchanges: [{name: a, want: {status: 200}}]", "shows nothing"},
		"nothing behind it":         {"about: x\nchains: {}\nlines: [1a]\nexchanges: [{name: a, request: {pipelined: true}, want: {status: 200}}]", "nothing to send behind one another"},
		"an unknown first step":     {"about: x\nchains: {}\nlines: [1a]\nexchanges: [{name: a, first: dance, want: {status: 200}}]", "not what can be done first"},
		"a refusal alone":           {"about: x\nchains: {}\nlines: [1a]\nexchanges: [{name: a, want: {status: 500, reason: NO}}]", "nothing is said about the upstream"},
		"spans nobody collects":     {"about: x\nchains: {}\nlines: [1a]\nexchanges: [{name: a, want: {status: 200, spans: [{name: b}]}}]", "nobody collects spans"},
		"spans nobody waits for":    {"about: x\ncollector: true\nchains: {}\nlines: [1a]\nexchanges: [{name: a, want: {status: 200}}]", "would be taken for the next exchange's"},
		"what cannot be reached":    {"about: x\nchains: {}\nlines: [1a]\nexchanges: [{name: a, want: {status: 200, reached: something}}]", "not what an upstream can have seen"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "suite.yaml")
			if err := os.WriteFile(file, []byte(c.src), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := cases.Read(file); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestCases(t *testing.T) {
	for _, s := range suites(t) {
		t.Run(strings.TrimSuffix(filepath.Base(s.File), ".yaml"), func(t *testing.T) {
			t.Parallel()
			s.Run(t, engine)
		})
	}
}

// TestEveryPolicyIsShown proves that each policy version of the engine stands behind the
// real Envoy in some suite.
func TestEveryPolicyIsShown(t *testing.T) {
	out, err := exec.Command(engine(t), "-policies").Output()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, s := range suites(t) {
		for _, p := range s.Policies {
			shown[p] = true
		}
	}
	compiled := 0
	for line := range strings.Lines(string(out)) {
		named, _, _ := strings.Cut(line, "\t")
		name, version, ok := strings.Cut(named, "@")
		if !ok {
			t.Fatalf("no policy version in %q", line)
		}
		if name == "probe" {
			continue // made for tests
		}
		compiled++
		version = name + "/" + version
		if !shown[version] {
			t.Errorf("no suite is about %s: name it under policies in one of testdata", version)
		}
		delete(shown, version)
	}
	for version := range shown {
		t.Errorf("a suite is about %s, which the engine does not have", version)
	}
	if compiled == 0 {
		t.Error("the engine lists no policy version")
	}
}

func engine(t testing.TB) string { return engines.Binary(t, engines.Cases) }
