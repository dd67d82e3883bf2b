package xds

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Status is what is known of a control plane.
type Status struct {
	// Server is the one that is connected, or that was last; empty before the first.
	Server    string
	Connected bool
	// Since is when it was connected, or lost.
	Since time.Time
	// Problem is why the newest attempt to connect failed, or empty.
	Problem string
	// Waiting is what an update waits for.
	Waiting []string
	// Refused is why the newest resources are not in force, or empty.
	Refused string
	// Kept is set while the configuration in force is a kept one.
	Kept *Kept
	// KeepProblem is why the last good configuration cannot be stored or read, or empty.
	KeepProblem string
	// Types are the types of resources, in the order of [Types].
	Types []TypeStatus
	// Responses, Accepted and Refusals count responses and the answers to them, Connects
	// streams that were made, and Failures attempts that failed and streams that were
	// lost.
	Responses, Accepted, Refusals, Connects, Failures uint64
}

// Kept is a configuration that was stored.
type Kept struct {
	Version string
	// Saved is when it was last known to be what the control plane serves.
	Saved time.Time
}

// TypeStatus is one type of resources.
type TypeStatus struct {
	URL string
	// Version is the newest version that was accepted.
	Version string
	// Resources are sorted by name.
	Resources []ResourceStatus
}

// ResourceStatus is one resource.
type ResourceStatus struct {
	Name, Version string
	// InForce says that this content of the resource is in force.
	InForce bool
	// Problem is why it is refused, or empty.
	Problem string
}

// typesOf describes the resources of a machine.
func typesOf(m *Machine, j *judge) (all []TypeStatus) {
	problems := map[string][]string{}
	if m.refusal != nil {
		for _, d := range diagnosticsOf(m.refusal.Refused) {
			problems[d.File] = append(problems[d.File], d.Error())
		}
	}
	for k := range kinds {
		t := TypeStatus{URL: urls[k], Version: m.types[k].version}
		told := map[string]*resource{}
		if k == revision {
			if m.revision != nil {
				told[RevisionName] = m.revision
			}
		} else {
			told = m.told[k]
		}
		for _, name := range slices.Sorted(maps.Keys(told)) {
			r := told[name]
			s := ResourceStatus{Name: name, Version: r.version, Problem: strings.Join(problems[r.place()], "\n")}
			if k == revision {
				s.InForce = m.once && m.refusal == nil
			} else {
				s.InForce = j.good.set[k] != nil && r.same(j.good.set[k][name])
			}
			t.Resources = append(t.Resources, s)
		}
		all = append(all, t)
	}
	return all
}
