package limits

import (
	"errors"
	"fmt"
	"slices"

	"policyengine.dev/policies/internal/client"
	"policyengine.dev/policies/rate-limit/internal/gcra"
	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
)

// Params are the parameters of one limit.
type Params struct {
	Name   string          `json:"name"`
	Rate   uint64          `json:"rate"`
	Window policy.Duration `json:"window"`
	// Burst is Rate where it is 0.
	Burst          uint64 `json:"burst"`
	Key            []Part `json:"key"`
	Absent         string `json:"absent"`
	Cost           uint64 `json:"cost"`
	CostExpression string `json:"costExpression"`
	Hidden         bool   `json:"hidden"`
}

// Part is one part of a key. Exactly one field is set.
type Part struct {
	Route      bool              `json:"route"`
	Principal  bool              `json:"principal"`
	Header     policy.HeaderName `json:"header"`
	Query      string            `json:"query"`
	Client     *client.Params    `json:"client"`
	Expression string            `json:"expression"`
}

// What happens to a request that lacks a part of the key.
const (
	absentShare  = "share"
	absentRefuse = "refuse"
	absentSkip   = "skip"
)

// Limit is a compiled limit. It is immutable and safe for concurrent use.
type Limit struct {
	Name   string
	Rate   gcra.Rate
	Hidden bool
	// Attributes are the proxy's attributes that expressions read.
	Attributes []string

	parts  []part
	absent string
	cost   uint64
	// costOf is nil where the cost is always the same.
	costOf *expr.ValueProgram

	// policyItem is the limit's item of RateLimit-Policy, and name the first part
	// of its item of RateLimit.
	policyItem, nameItem string
}

// Compile compiles limits, and returns every problem with its path below "limits".
func Compile(all []Params) ([]Limit, error) {
	var problems []error
	compiled := make([]Limit, len(all))
	for i, p := range all {
		at := func(field string, err error) {
			if err != nil {
				problems = append(problems, fmt.Errorf("limits[%d]%s: %w", i, field, err))
			}
		}
		if slices.ContainsFunc(all[:i], func(o Params) bool { return o.Name == p.Name }) {
			at(".name", fmt.Errorf("another limit of this step has the name %q", p.Name))
		}
		l := Limit{Name: p.Name, Hidden: p.Hidden, absent: p.Absent, cost: p.Cost}
		burst := p.Burst
		if burst == 0 {
			burst = p.Rate
		}
		var err error
		l.Rate, err = gcra.NewRate(p.Rate, p.Window.Std(), burst)
		at("", err)
		for j, part := range p.Key {
			compiled, attributes, err := compilePart(part)
			at(fmt.Sprintf(".key[%d]", j), err)
			l.parts, l.Attributes = append(l.parts, compiled), append(l.Attributes, attributes...)
		}
		switch {
		case p.CostExpression != "":
			l.costOf, err = expr.CompileValue(p.CostExpression, requestOnly())
			at(".costExpression", err)
			if err == nil {
				l.Attributes = append(l.Attributes, l.costOf.Reads().Attributes...)
			}
		case p.Cost > burst:
			at(".cost", fmt.Errorf("%d is more than the burst of %d, so no request would ever be allowed", p.Cost, burst))
		}
		l.policyItem, l.nameItem, err = items(p)
		at(".name", err)
		compiled[i] = l
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return compiled, nil
}

func requestOnly() expr.Option {
	return expr.Deny(expr.ScopeResponse, "requests are counted before there is a response")
}
