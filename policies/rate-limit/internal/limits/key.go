package limits

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"policyengine.dev/policies/internal/client"
	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/expr/input"
	"policyengine.dev/sdk/policy"
)

// part reads one part of a key. It appends it to b, and reports whether the request
// has it.
type part func(b []byte, req *policy.RequestContext, now time.Time) ([]byte, bool)

// compilePart also returns the attributes that an expression reads.
func compilePart(p Part) (part, []string, error) {
	var found []part
	var attributes []string
	if p.Route {
		found = append(found, func(b []byte, req *policy.RequestContext, _ time.Time) ([]byte, bool) {
			return text(b, req.Route()), true
		})
	}
	if p.Principal {
		found = append(found, principal)
	}
	if p.Header != "" {
		found = append(found, header(string(p.Header)))
	}
	if p.Query != "" {
		found = append(found, query(p.Query))
	}
	if p.Client != nil {
		finder, err := client.Compile(*p.Client)
		if err != nil {
			return nil, nil, fmt.Errorf("client: %w", err)
		}
		attributes = finder.Attributes()
		found = append(found, address(finder))
	}
	if p.Expression != "" {
		program, err := expr.CompileString(p.Expression, requestOnly())
		if err != nil {
			return nil, nil, fmt.Errorf("expression: %w", err)
		}
		attributes = program.Reads().Attributes
		found = append(found, expression(program))
	}
	if len(found) != 1 {
		return nil, nil, errors.New("must have exactly one of route, principal, header, query, client and expression")
	}
	return found[0], attributes, nil
}

// text appends s with its length in front, so that two keys are the same only if all
// their parts are.
func text(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func principal(b []byte, req *policy.RequestContext, _ time.Time) ([]byte, bool) {
	p := req.Principal()
	if p == nil {
		return b, false
	}
	return text(text(b, p.Issuer), p.Subject), true
}

// header counts every field of the name: an upstream may read another than the first.
func header(name string) part {
	return func(b []byte, req *policy.RequestContext, _ time.Time) ([]byte, bool) {
		headers := req.Headers()
		if v, ok := headers.Lookup(name); !ok || headers.Count(name) == 1 {
			return text(b, v), v != ""
		}
		return texts(b, headers.Values(name))
	}
}

func query(name string) part {
	return func(b []byte, req *policy.RequestContext, _ time.Time) ([]byte, bool) {
		if v, ok := req.Query(name); !ok || req.QueryCount(name) == 1 {
			return text(b, v), v != ""
		}
		return texts(b, req.QueryValues(name))
	}
}

// texts appends every value. They are present if one of them is not empty.
func texts(b []byte, values iter.Seq[string]) ([]byte, bool) {
	present := false
	for v := range values {
		b, present = text(b, v), present || v != ""
	}
	return b, present
}

// address counts an IPv6 client by its network of 64 bits, since one client has all of it.
func address(finder client.Finder) part {
	return func(b []byte, req *policy.RequestContext, _ time.Time) ([]byte, bool) {
		a, ok := finder.Find(req)
		if !ok {
			return b, false
		}
		if a.Is4() {
			four := a.As4()
			return append(b, four[:]...), true
		}
		sixteen := a.As16()
		return append(b, sixteen[:8]...), true
	}
}

// expression counts a request for which the expression has no result as one that lacks
// the part: a client decides whether a header is there.
func expression(program *expr.StringProgram) part {
	return func(b []byte, req *policy.RequestContext, now time.Time) ([]byte, bool) {
		v, err := program.Eval(input.Request(req, now))
		if err != nil || v == "" {
			return b, false
		}
		return text(b, v), true
	}
}

// Key appends the request's key to b. skip says that the limit is not for this
// request, refuse that the request is to be refused since it lacks a part.
func (l *Limit) Key(b []byte, req *policy.RequestContext, now time.Time) (key []byte, skip, refuse bool) {
	for _, p := range l.parts {
		began, present := len(b), false
		if b, present = p(b, req, now); present {
			// With its length behind it, a part cannot be taken for two.
			b = binary.BigEndian.AppendUint32(b, uint32(len(b)-began))
			continue
		}
		switch l.absent {
		case absentSkip:
			return b, true, false
		case absentRefuse:
			return b, false, true
		}
		b = binary.BigEndian.AppendUint32(b[:began], math.MaxUint32)
	}
	return b, false, false
}

// Cost is what the request costs. An error means that the expression has no result, or
// none that is a whole number from 0.
func (l *Limit) Cost(req *policy.RequestContext, now time.Time) (uint64, error) {
	if l.costOf == nil {
		return l.cost, nil
	}
	v, err := l.costOf.Eval(input.Request(req, now))
	if err != nil {
		return 0, fmt.Errorf("evaluating the cost of the limit %q: %w", l.Name, err)
	}
	switch n := v.(type) {
	case int64:
		if n >= 0 {
			return uint64(n), nil
		}
	case uint64:
		return n, nil
	case float64:
		if n >= 0 && n < 1<<53 && n == float64(uint64(n)) {
			return uint64(n), nil
		}
	}
	return 0, fmt.Errorf("the cost of the limit %q is not an integer from 0", l.Name)
}
