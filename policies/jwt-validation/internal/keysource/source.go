package keysource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/sdk/policy"
)

// What [Source.Keys] answers where there are no keys to be used.
var (
	ErrNotLoaded = errors.New("the issuer's keys have not been loaded yet")
	ErrStale     = errors.New("the issuer's keys are too old: they could not be renewed for longer than is allowed")
	errClosed    = errors.New("the source of the issuer's keys has been closed")
)

// Config says where keys come from. Every field but MaxStale has to be set.
type Config struct {
	// Load gets the JWK Set.
	Load Loader
	// Clock and Logger are the host's.
	Clock  policy.Clock
	Logger *slog.Logger
	// Refresh is the time between two successful loads.
	Refresh time.Duration
	// MaxStale is for how long keys may be used after they were loaded; 0 has
	// no limit.
	MaxStale time.Duration
	// Metrics says how loading goes.
	Metrics Metrics
}

// Metrics are the handles that a source reports to.
type Metrics struct {
	// Loaded and Failed count loads by their outcome.
	Loaded, Failed policy.Counter
	// Keys is the number of usable keys; LoadedAt the time of the last
	// successful load in seconds since 1970.
	Keys, LoadedAt policy.Gauge
}

// NewMetrics makes the handles for the issuer of that name.
func NewMetrics(m policy.Metrics, issuer string) Metrics {
	label := func(outcome string) []policy.Label {
		return []policy.Label{{Name: "issuer", Value: issuer}, {Name: "outcome", Value: outcome}}
	}
	const help = "Loads of an issuer's key set, by outcome."
	by := policy.Label{Name: "issuer", Value: issuer}
	return Metrics{
		Loaded:   m.Counter("jwks_loads_total", help, label("success")...),
		Failed:   m.Counter("jwks_loads_total", help, label("failure")...),
		Keys:     m.Gauge("jwks_keys", "Usable keys in an issuer's key set.", by),
		LoadedAt: m.Gauge("jwks_loaded_timestamp_seconds", "When an issuer's key set was last loaded, in Unix time.", by),
	}
}

// retryFirst is the pause after a first failure; it doubles up to Config.Refresh.
const retryFirst = time.Second

// loadTimeout bounds one load, whatever the loader's own bounds are.
const loadTimeout = 15 * time.Second

// Source is a set of keys that is kept up to date. Safe for concurrent use.
type Source struct {
	config  Config
	current atomic.Pointer[loaded]

	// loads happen on one goroutine, which start launches, so that there is
	// never more than one at a time.
	ctx    context.Context
	cancel context.CancelFunc
	kick   chan struct{}
	ended  chan struct{}

	mu       sync.Mutex
	running  bool
	closed   bool
	flight   *flight
	attempt  time.Time // when the last load began
	failures int
}

// loaded is a set, with the document that it was read from and when.
type loaded struct {
	set  *jose.KeySet
	data []byte
	at   time.Time
}

// flight is a load that is under way or about to be.
type flight struct {
	done chan struct{}
	err  error
}

// Static returns a source whose keys are set forever. Start does nothing.
func Static(set *jose.KeySet) *Source {
	s := &Source{}
	s.current.Store(&loaded{set: set})
	return s
}

// New returns a source without keys. It does no I/O before Start.
func New(c Config) *Source {
	s := &Source{config: c, kick: make(chan struct{}, 1), ended: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *Source) static() bool { return s.config.Load == nil }

// Keys returns the set, or [ErrNotLoaded] or [ErrStale]. As long as the keys do not
// change it is the same set.
func (s *Source) Keys(now time.Time) (*jose.KeySet, error) {
	l := s.current.Load()
	if l == nil {
		return nil, ErrNotLoaded
	}
	if s.config.MaxStale > 0 && now.Sub(l.at) > s.config.MaxStale {
		return nil, ErrStale
	}
	return l.set, nil
}

// Start begins to load keys in the background and waits until ctx ends for the
// first set; further calls wait again. After an error the background
// goes on trying.
func (s *Source) Start(ctx context.Context) error {
	if s.static() {
		return nil
	}
	now := s.config.Clock.Now()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	if !s.running {
		s.running = true
		go s.run()
	}
	if _, err := s.Keys(now); err == nil {
		s.mu.Unlock()
		return nil
	}
	f := s.fly()
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-s.ctx.Done():
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("waiting for the issuer's keys: %w", ctx.Err())
	}
}

// fly returns the load that is under way, or asks for one. s.mu is held.
func (s *Source) fly() *flight {
	if s.flight == nil {
		s.flight = &flight{done: make(chan struct{})}
		select {
		case s.kick <- struct{}{}:
		default:
		}
	}
	return s.flight
}

// Renew asks for a load because a key was not found, unless the last one began less
// than every ago, and waits for it: at most for as long as wait, and no longer than
// ctx. It reports whether a load has ended meanwhile. Any number of callers share
// one load.
func (s *Source) Renew(ctx context.Context, every, wait time.Duration) bool {
	if s.static() {
		return false
	}
	now := s.config.Clock.Now()
	s.mu.Lock()
	if s.flight == nil && (!s.running || now.Sub(s.attempt) < every) {
		s.mu.Unlock()
		return false
	}
	f := s.fly()
	s.mu.Unlock()
	timer := s.config.Clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-f.done:
		return f.err == nil
	case <-timer.C():
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
	return false
}

// A Holder is a policy that has sources of keys, of whichever version it is.
type Holder interface {
	// KeySource returns the policy's source at a place ([Place.Name]), or nil.
	KeySource(place string) *Source
}

// Adopt takes over the keys of old, where it has newer ones, and leaves old as it
// is. Only a source of the same place makes sense; nil changes nothing.
func (s *Source) Adopt(old *Source) {
	if old == nil || s.static() || old.static() {
		return
	}
	theirs := old.current.Load()
	if theirs == nil {
		return
	}
	for {
		ours := s.current.Load()
		if ours != nil && !ours.at.Before(theirs.at) {
			return
		}
		// A load may end at the same time: newer keys are never replaced.
		if s.current.CompareAndSwap(ours, theirs) {
			break
		}
	}
	s.report(theirs)
	old.mu.Lock()
	attempt := old.attempt
	old.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempt.Before(attempt) {
		s.attempt = attempt
	}
}

// Close ends the background and waits for its end. Keys that are there stay.
func (s *Source) Close() error {
	if s.static() {
		return nil
	}
	s.mu.Lock()
	s.closed = true
	running := s.running
	s.running = false
	s.mu.Unlock()
	s.cancel()
	if running {
		<-s.ended
	}
	return nil
}

func (s *Source) run() {
	defer close(s.ended)
	for {
		timer := s.config.Clock.NewTimer(s.pause())
		select {
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-s.kick:
			timer.Stop()
		case <-timer.C():
		}
		s.mu.Lock()
		f := s.fly()
		s.attempt = s.config.Clock.Now()
		s.mu.Unlock()
		err := s.load()
		// A kick that has arrived meanwhile was for the flight that ends here.
		select {
		case <-s.kick:
		default:
		}
		s.mu.Lock()
		if err == nil {
			s.failures = 0
		} else {
			s.failures++
		}
		s.flight = nil
		s.mu.Unlock()
		f.err = err
		close(f.done)
	}
}

// pause is the time until the next load of the background's own.
func (s *Source) pause() time.Duration {
	s.mu.Lock()
	failures := s.failures
	s.mu.Unlock()
	if failures > 0 {
		return min(retryFirst<<min(failures-1, 20), s.config.Refresh)
	}
	l := s.current.Load()
	if l == nil {
		return 0
	}
	return max(l.at.Add(s.config.Refresh).Sub(s.config.Clock.Now()), 0)
}

// load gets the keys once and puts them into use.
func (s *Source) load() error {
	ctx, cancel := context.WithTimeout(s.ctx, loadTimeout)
	defer cancel()
	data, err := s.config.Load(ctx)
	if err == nil {
		err = s.use(data)
	}
	if err == nil {
		s.config.Metrics.Loaded.Add(1)
		return nil
	}
	if s.ctx.Err() != nil {
		return errClosed
	}
	s.config.Metrics.Failed.Add(1)
	s.config.Logger.Warn("Loading an issuer's keys failed; "+s.instead(), "error", err)
	return err
}

// instead says what is used while loading fails.
func (s *Source) instead() string {
	switch _, err := s.Keys(s.config.Clock.Now()); err {
	case ErrNotLoaded:
		return "there are none yet, and its tokens are errors until there are."
	case ErrStale:
		return "the last good ones are too old to be used, and its tokens are errors."
	}
	return "the last good ones stay in use."
}

// use puts data's keys into use, be they none: an issuer takes a key back by leaving
// it out. Where the keys have not changed the set stays the same.
func (s *Source) use(data []byte) error {
	next := &loaded{data: data, at: s.config.Clock.Now()}
	old := s.current.Load()
	if old != nil && bytes.Equal(old.data, data) {
		next.set, next.data = old.set, old.data
	} else {
		set, skipped, err := jose.ParseJWKS(data)
		if err != nil {
			return err
		}
		for _, e := range skipped {
			s.config.Logger.Warn("A key of an issuer's key set cannot be used.", "error", e)
		}
		if next.set = set; old != nil && old.set.Equal(set) {
			next.set = old.set
		} else {
			s.config.Logger.Info("An issuer's keys have changed.", "keys", len(set.Keys()))
		}
		if len(set.Keys()) == 0 {
			s.config.Logger.Warn("An issuer's key set has no key that can be used; its tokens are refused.")
		}
	}
	s.current.Store(next)
	s.report(next)
	return nil
}

func (s *Source) report(l *loaded) {
	s.config.Metrics.Keys.Set(float64(len(l.set.Keys())))
	s.config.Metrics.LoadedAt.Set(float64(l.at.Unix()))
}
