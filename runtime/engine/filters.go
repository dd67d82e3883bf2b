package engine

import "policyengine.dev/runtime/admin"

// filterRemedy says what to do about a filter that does not do what is said of it.
const filterRemedy = "have the filter and its stamp agree, as pectl envoy-config writes them; this holds until the connection is made again or the stamp changes"

// filters are the filters that do not do what is said of them.
func (e *Engine) filters() []admin.FilterDump {
	var all []admin.FilterDump
	for _, f := range e.extproc.Findings() {
		all = append(all, admin.FilterDump{
			Stamp: f.Stamp, Connection: f.Connection, Since: f.Since, Route: f.Route, Problem: f.Problem, Remedy: filterRemedy,
		})
	}
	return all
}
