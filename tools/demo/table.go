package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"policyengine.dev/envoy_test/harness"
)

func writeTable(out io.Writer, results []result) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REQUEST\t\tSTATUS\tDECIDED BY\tADDED\t")
	for _, r := range results {
		mark := ""
		if len(r.problems) > 0 {
			mark = "NOT AS EXPECTED"
		}
		added := fmt.Sprintf("%.2f ms", float64(r.added.Microseconds())/1000)
		fmt.Fprintf(w, "%s %s\t%s\t%d\t%s\t%s\t%s\n", r.row.method, r.row.path, r.row.shows, r.status, decidedBy(r.decided), added, mark)
	}
	_ = w.Flush()
	fmt.Fprintf(out, "\nADDED is the median of %d requests, compared with a route on which Envoy does not call the engine.\n", repeats)
}

// decidedBy puts Envoy's response code details into words. Those of the engine are
// policy_engine.<policy>@<version>.<reason>, or policy_engine.<reason>.
func decidedBy(details string) string {
	own, ours := strings.CutPrefix(details, "policy_engine.")
	switch {
	case details == passed:
		return "nobody: passed to the upstream"
	case strings.HasPrefix(details, noEngine):
		return "Envoy: the engine is gone"
	case !ours:
		return "Envoy: " + details
	}
	// A version has dots, a reason has none.
	if dot := strings.LastIndexByte(own, '.'); dot > 0 {
		return strings.Replace(own[:dot], "@", " ", 1) + ": " + own[dot+1:]
	}
	return "the engine: " + own
}

// writeAddresses prints the addresses, and a request to try.
func writeAddresses(out io.Writer, s *harness.Stack, try string) {
	fmt.Fprintf(out, `
Envoy   http://%[1]s  (admin http://%[2]s)
engine  %[3]s  (admin: curl --unix-socket %[4]s http://engine/config_dump)
chains  %[5]s  (edit it: the engine reloads it without a restart)

Try     %[6]s

Ctrl-C stops the demo.
`, s.Address(), s.Envoy.AdminAddress(), s.Engine.Address(), strings.TrimPrefix(s.Engine.AdminAddress(), "unix:"), s.Engine.ChainsFile(), try)
}
