package redisstore

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"policyengine.dev/policies/rate-limit/internal/gcra"
	"policyengine.dev/sdk/breaker"
	"policyengine.dev/sdk/policy"
)

const (
	// failures in a row, after which Redis is not asked for the pause.
	failures = 5
	pause    = time.Second
)

//go:embed take.lua
var takeLua string

// errors of Take beside those of connections.
var (
	// ErrPaused: Redis has failed too often in a row.
	ErrPaused = errors.New("Redis has failed too often in a row and is not asked for a while")
	// ErrBusy: too many requests wait for Redis.
	ErrBusy = errors.New("too many requests wait for Redis")
)

// Store decides by state in Redis. Safe for concurrent use.
type Store struct {
	clock   policy.Clock
	logger  *slog.Logger
	timeout time.Duration
	link    *link
	batches batches
	breaker breaker.Breaker
	metrics metrics
}

// Open returns the store for these parameters, which all instances of a policy version
// with the same ones share. It connects with the first request, and closes with its last
// user. The error has every problem with its path.
func Open(host policy.Host, p Params) (*Store, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return policy.Share(host, "redis "+p.Identity(), func(h policy.Host) (*Store, error) {
		l := newLink(h, p)
		return &Store{
			clock: h.Clock, logger: h.Logger, timeout: p.Timeout.Std(), link: l,
			batches: batches{client: l.client, timeout: p.Timeout.Std(), most: max(1, p.Connections), script: redis.NewScript(takeLua)},
			breaker: breaker.Breaker{Most: failures, Pause: pause},
			metrics: newMetrics(h.Metrics),
		}, nil
	})
}

// Start reads what the connection needs from files, and errs if it cannot. It does not
// connect: chains load while Redis is away.
func (s *Store) Start() error { return s.link.check() }

// Close ends the connections. The runtime calls it after the last user's own Close.
func (s *Store) Close() error { return plain(s.link.client.Close()) }

// Request asks for units of one key.
type Request struct {
	// Key is the name of the state in Redis.
	Key  string
	Rate gcra.Rate
	Cost uint64

	// Decision is the answer, and Ahead how far the key's theoretical arrival time lies
	// ahead after it.
	Decision gcra.Decision
	Ahead    time.Duration
}

// Take decides all requests in one round trip, and charges all or none, as [gcra.Take]
// does. In a cluster all keys have to have one hash tag. The error says why Redis did not
// decide; whether it charged is not known then.
func (s *Store) Take(ctx context.Context, requests []Request) (bool, error) {
	turn, ok := s.breaker.Allow(s.clock.Now())
	if !ok {
		s.metrics.count(resultPaused)
		return false, ErrPaused
	}
	began := s.clock.Now()
	outcome, err := breaker.Failure, errors.New("the client panicked")
	// Should the client panic, that is a failure.
	defer func() { s.changed(s.breaker.Done(turn, outcome, s.clock.Now()), err) }()
	var allowed bool
	allowed, err = s.take(ctx, requests)
	outcome = outcomeOf(ctx, err)
	s.metrics.observe(err, s.clock.Now().Sub(began))
	return allowed, err
}

// outcomeOf says what an error means for the breaker.
func outcomeOf(ctx context.Context, err error) breaker.Outcome {
	switch {
	case err == nil:
		return breaker.Success
	case errors.Is(ctx.Err(), context.Canceled), errors.Is(err, ErrBusy), errors.Is(err, errState):
		return breaker.Neither
	}
	return breaker.Failure
}

func (s *Store) changed(change breaker.Change, cause error) {
	switch change {
	case breaker.Opened:
		s.metrics.open.Set(1)
		s.logger.Warn("Redis has failed too often and is not asked for a while", slog.Duration("pause", pause), slog.Any("error", cause))
	case breaker.Closed:
		s.metrics.open.Set(0)
		s.logger.Info("Redis answers again")
	}
}

func (s *Store) take(ctx context.Context, requests []Request) (bool, error) {
	c := &call{done: make(chan struct{}), keys: make([]string, len(requests)), args: make([]any, 1, 1+5*len(requests))}
	charge := true
	for i, r := range requests {
		cost := r.Cost
		if cost > r.Rate.Burst() {
			cost, charge = 0, false
		}
		span, tolerance := r.Rate.Span(cost), r.Rate.Tolerance()
		c.keys[i] = r.Key
		c.args = append(c.args, r.Rate.Units(), span.Micros, span.Part, tolerance.Micros, tolerance.Part)
	}
	c.args[0] = "0"
	if charge {
		c.args[0] = "1"
	}
	if err := s.batches.do(ctx, c); err != nil {
		return false, err
	}
	return read(c.reply, requests, charge)
}

// read checks the script's reply against the same arithmetic here.
func read(reply any, requests []Request, charge bool) (bool, error) {
	all, ok := reply.([]any)
	if ok && len(all) == 0 {
		return false, errState
	}
	if !ok || len(all) != 2+2*len(requests) {
		return false, errNonsense
	}
	numbers := make([]uint64, len(all))
	for i, v := range all {
		n, ok := v.(int64)
		if !ok || n < 0 {
			return false, errNonsense
		}
		numbers[i] = uint64(n)
	}
	allowed := true
	for i := range requests {
		r := &requests[i]
		if numbers[2+2*i] < numbers[1] {
			return false, errNonsense // the script gives no time that has passed
		}
		var err error
		if r.Decision, r.Ahead, err = r.Rate.Decide(gcra.Point{Micros: numbers[2+2*i], Part: numbers[3+2*i]}, numbers[1], r.Cost); err != nil {
			return false, fmt.Errorf("reading the reply of Redis: %w", err)
		}
		allowed = allowed && r.Decision.Allowed
	}
	if (numbers[0] == 1) != (allowed && charge) || numbers[0] > 1 {
		return false, errNonsense
	}
	if !allowed {
		// Those that alone would have been allowed were not charged.
		for i := range requests {
			r := &requests[i]
			_, r.Ahead, _ = r.Rate.Decide(gcra.Point{Micros: numbers[2+2*i], Part: numbers[3+2*i]}, numbers[1], 0)
		}
	}
	return allowed, nil
}

// metrics are those of one store.
type metrics struct {
	requests map[string]policy.Counter
	seconds  policy.Histogram
	open     policy.Gauge
}

// The results of asking.
const (
	resultOK      = "ok"
	resultTimeout = "timeout"
	resultError   = "error"
	resultPaused  = "paused"
)

func newMetrics(m policy.Metrics) metrics {
	all := metrics{
		requests: map[string]policy.Counter{},
		seconds:  m.Histogram("redis_seconds", "How long Redis took to decide.", []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1}),
		open:     m.Gauge("redis_paused", "1 while Redis is not asked, having failed too often in a row."),
	}
	for _, result := range []string{resultOK, resultTimeout, resultError, resultPaused} {
		all.requests[result] = m.Counter("redis_requests_total", "Requests to Redis.", policy.Label{Name: "result", Value: result})
	}
	return all
}

func (m metrics) count(result string) { m.requests[result].Add(1) }

func (m metrics) observe(err error, took time.Duration) {
	switch {
	case err == nil:
		m.count(resultOK)
	case errors.Is(err, context.DeadlineExceeded):
		m.count(resultTimeout)
	default:
		m.count(resultError)
	}
	m.seconds.Observe(took.Seconds())
}

// Key returns the name of a state: prefix, the group as a hash tag, the limit, and the key.
func Key(prefix, group, limit, key string) string {
	return prefix + "{" + group + "}:" + strconv.Itoa(len(limit)) + limit + ":" + key
}
