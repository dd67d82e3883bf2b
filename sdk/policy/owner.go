package policy

import (
	"errors"
	"fmt"
	"slices"

	"policyengine.dev/sdk/exchange"
)

// HeaderOwner is implemented by policies that set request headers which upstreams
// trust, such as one with the caller's name. A client must not be able to send such a
// header itself.
//
// OwnedRequestHeaders names these headers, in any case. It is asked once, after New
// and before Start, also for a step that is not enabled. It has to depend on the
// parameters only, and may return an empty list.
//
// The runtime removes owned headers from the request as the client sent it, once,
// before the first step of the chain. It does so whatever the step's condition, mode,
// onError and enabled say. So the policy only sets its headers: it does not have to
// remove them, and what it finds in them was set by an earlier step of the chain.
// A header whose name differs from an owned one in - and _ only is removed as well,
// since many servers take the two for one.
type HeaderOwner interface {
	OwnedRequestHeaders() []string
}

// AlikeHeaderNames reports whether many servers take a and b, which are in lower case,
// for one header: they are equal, or differ in - and _ only. CGI, and what follows it,
// makes one variable of x-user and x_user (RFC 3875, section 4.1.18).
func AlikeHeaderNames(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if a[i] != b[i] && (a[i] != '-' || b[i] != '_') && (a[i] != '_' || b[i] != '-') {
			return false
		}
	}
	return true
}

// OwnedRequestHeaders returns the request headers that instance owns: in lower case,
// sorted, each once; none if it is no [HeaderOwner]. The error names each header that
// no policy may change ([CheckHeaderEdit]). It is for runtimes.
func OwnedRequestHeaders(instance any) ([]string, error) {
	o, ok := instance.(HeaderOwner)
	if !ok {
		return nil, nil
	}
	var owned []string
	var problems []error
	for _, name := range o.OwnedRequestHeaders() {
		if err := CheckHeaderEdit(name); err != nil {
			problems = append(problems, fmt.Errorf("the policy cannot own the header %q: it %w", name, err))
			continue
		}
		owned = append(owned, exchange.Lower(name))
	}
	slices.Sort(owned)
	return slices.Compact(owned), errors.Join(problems...)
}
