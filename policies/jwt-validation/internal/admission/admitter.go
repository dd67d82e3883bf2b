// Package admission admits requests by their tokens, and remembers the tokens that it has
// verified.
package admission

import (
	"context"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/refusal"
	"policyengine.dev/policies/jwt-validation/internal/settings"
	"policyengine.dev/policies/jwt-validation/internal/tokencache"
	"policyengine.dev/sdk/policy"
)

// An Admitter admits requests. Make one with [New]. Safe for concurrent use.
type Admitter struct {
	places   []bearer.Place
	forward  bool
	maxBytes int
	verify   Verify
	clock    policy.Clock
	ttl      time.Duration
	cache    *tokencache.Cache[*Token]

	hits, misses policy.Counter
}

// Verify returns what is known of a token that is good now, or why it is not let pass.
type Verify func(ctx context.Context, token string, now time.Time) (*Token, error)

// New returns an admitter for tokens in requests of the form r. Admitters with an equal key share
// what they remember: the key has to stand for all that verify depends on.
func New(key string, r *settings.Request, c settings.Cache, verify Verify, host policy.Host) (*Admitter, error) {
	cache, err := policy.Share(host, key, func(policy.Host) (*tokencache.Cache[*Token], error) {
		return tokencache.New[*Token](c.Entries, c.Bytes), nil
	})
	return &Admitter{
		places: bearer.Places(r.TokenFrom), forward: r.ForwardToken, maxBytes: r.MaxTokenBytes,
		verify: verify, clock: host.Clock, ttl: c.TTL.Std(), cache: cache,
		hits: lookups(host.Metrics, "hit"), misses: lookups(host.Metrics, "miss"),
	}, err
}

func lookups(m policy.Metrics, result string) policy.Counter {
	return m.Counter("token_cache_lookups_total", "Lookups of tokens in the cache of verified ones, by result.", policy.Label{Name: "result", Value: result})
}

// Traces reports whether something in the request stands where a token may be.
func (a *Admitter) Traces(req *policy.RequestContext) bool { return bearer.Traces(req, a.places) }

// Admit returns the change to a request with a good token. An error is one of packages
// bearer and refusal, or one of verify's.
func (a *Admitter) Admit(ctx context.Context, req *policy.RequestContext) (*policy.RequestMutation, error) {
	token, at, err := bearer.Find(req, a.places)
	if err != nil {
		return nil, err
	}
	if len(token) > a.maxBytes {
		return nil, refusal.ErrTooLarge
	}
	now := a.clock.Now()
	hash := a.cache.Hash(token)
	t, ok := a.cache.Get(hash, token, now)
	if ok && t.stands(now) {
		a.hits.Add(1)
		return t.answer(a.places, a.forward, req, at), nil
	}
	a.misses.Add(1)
	if t, err = a.verify(ctx, token, now); err != nil {
		return nil, err
	}
	t.prepare(a.places, a.forward, at)
	if a.cache != nil {
		// Not beyond the token's time, nor the cache's own.
		until := now.Add(a.ttl)
		if t.Until.Before(until) {
			until = t.Until
		}
		a.cache.Put(hash, token, t, t.size(), now, until)
	}
	return t.answer(a.places, a.forward, req, at), nil
}
