package policy

import (
	"errors"
	"fmt"
	"slices"

	"policyengine.dev/sdk/exchange"
)

// HeaderOwner is implemented by policies that set request headers which upstreams trust,
// such as the caller's name. A client must not be able to send such a header itself.
//
// OwnedRequestHeaders returns the names of these headers, in any case. It is called once,
// after New and before Start, also for a disabled step. The result must depend on the
// parameters only, and may be empty.
//
// The runtime removes owned headers from the client's request once, before the first step
// of the chain, whatever the step's condition, mode, onError and enabled are. So the policy
// only sets its headers and need not remove them; a value that it finds was set by an
// earlier step of the chain. Headers whose names differ from an owned one only in - and _
// are removed too, because many servers do not distinguish them.
type HeaderOwner interface {
	OwnedRequestHeaders() []string
}

// AlikeHeaderNames reports whether many servers treat a and b, which must be in lower case,
// as one header: they are equal, or differ only in - and _. CGI makes the same variable of
// x-user and x_user (RFC 3875, section 4.1.18).
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
// sorted, without duplicates; none if it is not a [HeaderOwner]. The error lists each
// header that no policy may change ([CheckHeaderEdit]). It is for runtimes.
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
