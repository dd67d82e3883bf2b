// Package ratelimit limits how many requests a client may make, counted in Redis or
// Valkey for several engines together, by the generic cell rate algorithm.
package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"policyengine.dev/policies/rate-limit/internal/gcra"
	"policyengine.dev/policies/rate-limit/internal/limits"
	"policyengine.dev/policies/rate-limit/internal/redisstore"
	"policyengine.dev/sdk/policy"
)

// Policy is rate-limit v2.0.0.
var Policy = policy.Define(New)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Redis           redisstore.Params `json:"redis"`
	Group           string            `json:"group"`
	WhenUnavailable string            `json:"whenUnavailable"`
	Limits          []Limit           `json:"limits"`
	ResponseHeaders string            `json:"responseHeaders"`
}

// Limit is one limit.
type Limit struct {
	limits.Params
	MaxKeys int `json:"maxKeys"`
}

// The reasons.
const (
	// ReasonLimited is given for a request over a limit.
	ReasonLimited = limits.ReasonLimited
	// ReasonUnavailable is given while Redis is away, where that refuses requests.
	ReasonUnavailable = "RATE_LIMIT_UNAVAILABLE"
)

// What happens to requests while Redis is away.
const (
	unavailableLocal = "local"
	unavailableDeny  = "deny"
	unavailableAllow = "allow"
)

// known is for how long a key that Redis has called over its limit is refused without
// asking again.
const known = time.Second

// RateLimit decides by all of its limits together.
type RateLimit struct {
	clock  policy.Clock
	redis  *redisstore.Store
	limits []limit
	limits.Teller
	whenUnavailable string
	unavailable     *policy.ImmediateResponse
	fallbacks       policy.Counter
}

type limit struct {
	limits.Limit
	// counts and trial are those of requests that are enforced and on trial.
	counts, trial counts
	maxKeys       int
	// refused counts all that the limit refused, spared those of them for which
	// Redis was not asked.
	refused, spared policy.Counter
}

// counts is where a limit counts: under names in Redis that begin with prefix, of which
// mirror has a copy that decides where Redis need not or cannot be asked.
type counts struct {
	prefix string
	mirror *gcra.Store
}

// New compiles the limits, and reports every problem with its path. It does not connect.
func New(p Params, host policy.Host) (*RateLimit, error) {
	all := make([]limits.Params, len(p.Limits))
	var problems []error
	for i, l := range p.Limits {
		all[i] = l.Params
		if w := l.Window.Std(); w > 0 && w%time.Microsecond != 0 {
			problems = append(problems, fmt.Errorf("limits[%d].window: %s is no whole number of microseconds", i, w))
		}
	}
	compiled, err := limits.Compile(all)
	problems = append(problems, err)
	redis, err := redisstore.Open(host, p.Redis)
	problems = append(problems, err)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	r := &RateLimit{
		clock: host.Clock, redis: redis, Teller: limits.NewTeller(compiled, p.ResponseHeaders), whenUnavailable: p.WhenUnavailable,
		unavailable: policy.Reject(503, ReasonUnavailable, "The rate of requests cannot be checked now.", policy.Header{Name: "retry-after", Value: "1"}),
		fallbacks: host.Metrics.Counter("fallbacks_total", "Requests that were decided without Redis, since it did not answer.",
			policy.Label{Name: "mode", Value: p.WhenUnavailable}),
	}
	for i, l := range compiled {
		name := policy.Label{Name: "limit", Value: l.Name}
		open := func(kind string) counts {
			prefix := redisstore.Key(p.Redis.Prefix, p.Group, l.Name, kind)
			mirror, err := policy.Share(host, "mirror of "+p.Redis.Identity()+" "+prefix, func(h policy.Host) (*gcra.Store, error) {
				return gcra.NewStore(h.Clock), nil
			})
			problems = append(problems, err)
			return counts{prefix, mirror}
		}
		r.limits = append(r.limits, limit{
			Limit: l, maxKeys: p.Limits[i].MaxKeys, counts: open(""), trial: open("trial:"),
			refused: host.Metrics.Counter("refused_total", "Requests that the limit refused.", name),
			spared:  host.Metrics.Counter("spared_total", "Requests that the limit refused without asking Redis again.", name),
		})
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return r, nil
}

// ReadsAttributes implements policy.AttributeReader: expressions say which they read.
func (r *RateLimit) ReadsAttributes() (request, response []string) {
	for _, l := range r.limits {
		request = append(request, l.Attributes...)
	}
	return request, nil
}

// Start reads the files that the connection needs. It does not wait for Redis.
func (r *RateLimit) Start(context.Context) error { return r.redis.Start() }

// asked is what is asked about one request.
type asked struct {
	of    []*limit
	local []gcra.Request
	redis []redisstore.Request
}

// OnRequestHeaders charges the request to every limit if all of them allow it. In shadow
// mode it charges counts that belong to that mode alone.
func (r *RateLimit) OnRequestHeaders(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	var a asked
	var buffer [256]byte
	now := r.clock.Now()
	for i := range r.limits {
		l := &r.limits[i]
		key, skip, refuse := l.Key(buffer[:0], req, now)
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
		c := &l.counts
		if req.Shadow() {
			c = &l.trial
		}
		a.of = append(a.of, l)
		a.redis = append(a.redis, redisstore.Request{Key: c.prefix + name(key), Rate: l.Rate, Cost: cost})
		a.local = append(a.local, gcra.Request{Store: c.mirror, Key: c.mirror.Key(key), Rate: l.Rate, Cost: cost, MaxKeys: l.maxKeys})
	}
	if len(a.of) == 0 {
		return nil, nil
	}
	if action := r.spare(&a); action != nil {
		return action, nil
	}
	allowed, err := r.redis.Take(ctx, a.redis)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		return r.without(&a), nil
	}
	for i := range a.of {
		d := &a.redis[i]
		a.local[i].Decision = d.Decision
		// By the moment before Redis was asked: nobody is refused here for longer than there.
		a.local[i].Store.Mirror(a.local[i].Key, now, d.Ahead, a.local[i].MaxKeys)
	}
	return r.answer(&a, allowed), nil
}

// name is what a key is called in Redis: as long for each key, and nobody can choose two
// of one name.
func name(key []byte) string {
	sum := sha256.Sum256(key)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// spare refuses a request without asking Redis if it has called the key over its limit
// within the last second.
func (r *RateLimit) spare(a *asked) policy.RequestAction {
	var wait time.Duration
	var field []byte
	refused := false
	for i := range a.of {
		q := &a.local[i]
		d, over := q.Store.Over(q.Key, q.Rate, q.Cost, known)
		if !over {
			continue
		}
		refused = true
		a.of[i].refused.Add(1)
		a.of[i].spared.Add(1)
		wait = limits.Longer(wait, d.RetryAfter)
		field = a.of[i].AppendField(field, d)
	}
	if !refused {
		return nil
	}
	return r.Refused(wait, field)
}

// without decides while Redis is away.
func (r *RateLimit) without(a *asked) policy.RequestAction {
	r.fallbacks.Add(1)
	switch r.whenUnavailable {
	case unavailableAllow:
		return nil
	case unavailableLocal:
		return r.answer(a, gcra.Take(a.local))
	}
	return r.unavailable
}

// answer tells the client what the decisions in a.local are.
func (r *RateLimit) answer(a *asked, allowed bool) policy.RequestAction {
	if allowed && !r.TellsAll() {
		return nil
	}
	var wait time.Duration
	var field []byte
	for i := range a.of {
		d := a.local[i].Decision
		field = a.of[i].AppendField(field, d)
		if !d.Allowed {
			a.of[i].refused.Add(1)
			wait = limits.Longer(wait, d.RetryAfter)
		}
	}
	if allowed {
		return r.Passed(field)
	}
	return r.Refused(wait, field)
}
