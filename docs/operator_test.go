package docs_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/worker"
)

func readPage(t *testing.T, file string) string {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

var reasonRow = regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| ([^|]+) \\|")

// TestTheOperatorsPageHasEveryReason proves that whatever an engine answers by itself
// is in the table, with its status, and nothing else is.
func TestTheOperatorsPageHasEveryReason(t *testing.T) {
	told := map[string]string{}
	for _, m := range reasonRow.FindAllStringSubmatch(readPage(t, "operator.md"), -1) {
		told[m[1]] = m[2]
	}
	known := map[string]bool{}
	for r := worker.Reason(0); r < worker.ReasonCount; r++ {
		known[r.String()] = true
		status := told[r.String()]
		if !strings.Contains(status, fmt.Sprint(r.Status())) {
			t.Errorf("%s is %d, and the page says %q", r, r.Status(), status)
		}
		if r == worker.ResponseOverloaded {
			continue // the request has had its effect: see docs/decisions/memory.md
		}
		if retry := r.Status() == 503; retry != strings.Contains(status, "Retry-After") {
			t.Errorf("%s tells when to try again: %t, and the page says %q", r, retry, status)
		}
	}
	for name := range told {
		if !known[name] {
			t.Errorf("the page has %s, which is not a reason", name)
		}
	}
}

// TestTheOperatorsPageNamesMetricsThatThereAre compares it with those of telemetry.md,
// which are written from the code.
func TestTheOperatorsPageNamesMetricsThatThereAre(t *testing.T) {
	name := regexp.MustCompile(`policy_engine_[a-z_]+`)
	all := name.FindAllString(readPage(t, "telemetry.md"), -1)
	named := name.FindAllString(readPage(t, "operator.md"), -1)
	if len(named) == 0 {
		t.Error("it names none")
	}
	for _, n := range named {
		if !slices.Contains(all, n) {
			t.Errorf("there is no metric %s", n)
		}
	}
}

// TestTheOperatorsPageShowsGoodConfiguration proves that each piece of an engine.yaml is
// read without a complaint. That those about TLS work is shown by envoy_test/lifecycle.
func TestTheOperatorsPageShowsGoodConfiguration(t *testing.T) {
	found := 0
	for _, b := range block.FindAllStringSubmatch(readPage(t, "operator.md"), -1) {
		if !strings.HasPrefix(b[3], "# engine.yaml\n") && !strings.HasPrefix(b[3], "listeners:") {
			continue
		}
		found++
		if _, err := config.ParseEngine("operator.md", "/", []byte("source: {path: chains}\n"+b[3])); err != nil {
			t.Errorf("%v, in\n%s", err, b[3])
		}
	}
	if found < 3 {
		t.Errorf("%d pieces of engine.yaml, want at least 3", found)
	}
}
