// Package ratelimit limits how many requests a client may make, counted inside this
// engine by the generic cell rate algorithm.
package ratelimit

import (
	"context"
	"errors"
	"sync"
	"time"

	"policyengine.dev/policies/rate-limit/internal/gcra"
	"policyengine.dev/policies/rate-limit/internal/limits"
	"policyengine.dev/sdk/policy"
)

// Policy is rate-limit v1.0.0.
var Policy = policy.Define(New)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Limits          []Limit `json:"limits"`
	ResponseHeaders string  `json:"responseHeaders"`
}

// Limit is one limit.
type Limit struct {
	limits.Params
	MaxKeys  int    `json:"maxKeys"`
	WhenFull string `json:"whenFull"`
}

// RateLimit decides by all of its limits together.
type RateLimit struct {
	clock  policy.Clock
	limits []limit
	limits.Teller
}

type limit struct {
	limits.Limit
	// store has the counts, and trial those of the shadow mode.
	store, trial      *gcra.Store
	maxKeys           int
	whenFull          gcra.Full
	refused, overflow policy.Counter
}

// New compiles the limits, and reports every problem with its path.
func New(p Params, host policy.Host) (*RateLimit, error) {
	all := make([]limits.Params, len(p.Limits))
	for i, l := range p.Limits {
		all[i] = l.Params
	}
	compiled, err := limits.Compile(all)
	if err != nil {
		return nil, err
	}
	// Counts belong to the limit's name: they survive reloads, and all chains that
	// name a limit alike share them.
	var problems []error
	share := func(kind, name string) *gcra.Store {
		store, err := policy.Share(host, "rate-limit "+kind+" "+name, func(h policy.Host) (*gcra.Store, error) {
			return gcra.NewStore(h.Clock), nil
		})
		problems = append(problems, err)
		return store
	}
	r := &RateLimit{clock: host.Clock, Teller: limits.NewTeller(compiled, p.ResponseHeaders)}
	for i, l := range compiled {
		name := policy.Label{Name: "limit", Value: l.Name}
		r.limits = append(r.limits, limit{
			Limit: l, maxKeys: p.Limits[i].MaxKeys, whenFull: whenFull[p.Limits[i].WhenFull],
			store: share("counts", l.Name), trial: share("trial counts", l.Name),
			refused:  host.Metrics.Counter("refused_total", "Requests that the limit refused.", name),
			overflow: host.Metrics.Counter("overflow_total", "Requests of keys that there was no room to count.", name),
		})
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return r, nil
}

var whenFull = map[string]gcra.Full{"share": gcra.Share, "refuse": gcra.Refuse, "allow": gcra.Allow}

// ReadsAttributes implements policy.AttributeReader: expressions say which they read.
func (r *RateLimit) ReadsAttributes() (request, response []string) {
	for _, l := range r.limits {
		request = append(request, l.Attributes...)
	}
	return request, nil
}

// scratch is what deciding about one request needs. It is used again, so that a request
// costs no allocation.
type scratch struct {
	requests [gcra.MaxRequests]gcra.Request
	of       [gcra.MaxRequests]*limit
	key      [256]byte
	field    [256]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// ReasonLimited is given for a request over a limit.
const ReasonLimited = limits.ReasonLimited

// OnRequestHeaders charges the request to every limit if all of them allow it. In
// shadow mode it charges counts that belong to that mode alone.
func (r *RateLimit) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	count, now := 0, r.clock.Now()
	for i := range r.limits {
		l := &r.limits[i]
		key, skip, refuse := l.Key(s.key[:0], req, now)
		if refuse {
			return r.NoKey(), nil
		}
		if skip {
			continue
		}
		cost, err := l.Cost(req, now)
		if err != nil {
			return nil, err
		}
		store := l.store
		if req.Shadow() {
			store = l.trial
		}
		s.of[count] = l
		s.requests[count] = gcra.Request{Store: store, Key: store.Key(key), Rate: l.Rate, Cost: cost, MaxKeys: l.maxKeys, WhenFull: l.whenFull}
		count++
	}
	asked, of := s.requests[:count], s.of[:count]
	allowed := gcra.Take(asked)
	for i := range asked {
		if asked[i].Overflow {
			of[i].overflow.Add(1)
		}
	}
	if allowed {
		return r.passed(s.field[:0], asked, of), nil
	}
	return r.refused(s.field[:0], asked, of), nil
}

// passed tells what is left, where the client is to know.
func (r *RateLimit) passed(value []byte, asked []gcra.Request, of []*limit) policy.RequestAction {
	if !r.TellsAll() {
		return nil
	}
	return r.Passed(field(value, asked, of))
}

func (r *RateLimit) refused(value []byte, asked []gcra.Request, of []*limit) policy.RequestAction {
	var wait time.Duration
	for i := range asked {
		if d := asked[i].Decision; !d.Allowed {
			of[i].refused.Add(1)
			wait = limits.Longer(wait, d.RetryAfter)
		}
	}
	return r.Refused(wait, field(value, asked, of))
}

// field appends the value of RateLimit.
func field(value []byte, asked []gcra.Request, of []*limit) []byte {
	for i := range asked {
		value = of[i].AppendField(value, asked[i].Decision)
	}
	return value
}
