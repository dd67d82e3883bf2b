package apply

import (
	"slices"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// OwnedHeaders are the names of request headers that policies own: see
// policy.HeaderOwner. Immutable; the zero value has none.
type OwnedHeaders struct {
	names []string
	// lengths has the bit of each name's length, modulo 64: most headers of a
	// request are told apart from owned ones by that alone.
	lengths uint64
}

// NewOwnedHeaders returns the set of names, which are in lower case. It takes the slice
// over.
func NewOwnedHeaders(names []string) OwnedHeaders {
	slices.Sort(names)
	o := OwnedHeaders{names: slices.Compact(names)}
	for _, name := range o.names {
		o.lengths |= lengthBit(name)
	}
	return o
}

func lengthBit(name string) uint64 { return 1 << (len(name) % 64) }

// Names are the names, sorted. The slice must not be modified.
func (o *OwnedHeaders) Names() []string { return o.names }

// Remove removes from h, which is as the client sent it, every header that is owned,
// and every one whose name differs from an owned one in - and _ only. It allocates
// nothing if there is none.
func (o *OwnedHeaders) Remove(h *exchange.Headers) {
	for i := 0; i < h.Len(); {
		name := h.At(i).Name
		if o.lengths&lengthBit(name) == 0 || !o.claim(name) {
			i++
			continue
		}
		// The fields behind it move up.
		h.Remove(name)
	}
}

func (o *OwnedHeaders) claim(name string) bool {
	for _, owned := range o.names {
		if policy.AlikeHeaderNames(owned, name) {
			return true
		}
	}
	return false
}
