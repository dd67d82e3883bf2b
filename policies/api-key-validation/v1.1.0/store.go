package apikeyvalidation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"policyengine.dev/sdk/policy"
)

// checkInterval is the time between two looks at the place of the keys.
const checkInterval = time.Second

var (
	errNotLoaded = errors.New("the keys have not been loaded yet")
	errClosed    = errors.New("the keys' store has been closed")
)

// store keeps the keys of a file or a directory up to date. All instances with the same
// place share one. A new version is read and parsed by a goroutine of the store's own and
// takes effect at once and whole; requests only load a pointer. Safe for concurrent use.
type store struct {
	source  *policy.File[*table]
	clock   policy.Clock
	current atomic.Pointer[table]

	keys          policy.Gauge
	loadedAt      policy.Gauge
	loads, failed policy.Counter

	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex
	ended  chan struct{} // nil until the goroutine has been started
	closed bool
}

// openStore returns the store of a place. It does no I/O.
func openStore(from *KeysFrom, peppers bool, host policy.Host) (*store, error) {
	key := fmt.Sprintf("%s, peppers: %t", from.name(), peppers)
	return policy.Share(host, key, func(host policy.Host) (*store, error) {
		label := policy.Label{Name: "source", Value: from.name()}
		const help = "Reads of a changed file or directory of API keys, by outcome."
		s := &store{
			clock:    host.Clock,
			keys:     host.Metrics.Gauge("api_keys", "API keys of a file or directory.", label),
			loadedAt: host.Metrics.Gauge("api_keys_loaded_timestamp_seconds", "When the API keys were last read, in Unix time.", label),
			loads:    host.Metrics.Counter("api_key_loads_total", help, label, policy.Label{Name: "outcome", Value: "success"}),
			failed:   host.Metrics.Counter("api_key_loads_total", help, label, policy.Label{Name: "outcome", Value: "failure"}),
		}
		s.ctx, s.cancel = context.WithCancel(context.Background())
		parse := func(files []policy.NamedFile) (*table, error) {
			t, err := parseFiles(files, peppers)
			if err != nil {
				s.failed.Add(1)
				return nil, err
			}
			s.loads.Add(1)
			return t, nil
		}
		if from.Directory != "" {
			s.source = policy.WatchDirectory(host, from.Directory, suffix, func(files []policy.NamedFile) (*table, error) {
				if len(files) == 0 {
					// More likely a mount that is not there than a wish to refuse everybody.
					s.failed.Add(1)
					return nil, fmt.Errorf("the directory has no file whose name ends in %s", suffix)
				}
				return parse(files)
			}, policy.MaxFileSize(maxFileBytes))
		} else {
			s.source = policy.WatchFile(host, from.File, func(content []byte) (*table, error) {
				return parse([]policy.NamedFile{{Content: content}})
			}, policy.MaxFileSize(maxFileBytes))
		}
		return s, nil
	})
}

// table returns the keys, or [errNotLoaded].
func (s *store) table() (*table, error) {
	if t := s.current.Load(); t != nil {
		return t, nil
	}
	return nil, errNotLoaded
}

// start reads the keys and keeps them up to date from then on, also where reading them
// fails at first. It may be called by every instance, and again.
func (s *store) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	err := s.refresh()
	if s.ended == nil {
		s.ended = make(chan struct{})
		go s.run()
	}
	return err
}

// refresh puts the present version of the keys into use.
func (s *store) refresh() error {
	t, err := s.source.Value()
	if err != nil {
		return err
	}
	if s.current.Swap(t) != t {
		s.keys.Set(float64(len(t.entries)))
		s.loadedAt.Set(float64(s.clock.Now().Unix()))
	}
	return nil
}

func (s *store) run() {
	defer close(s.ended)
	for {
		timer := s.clock.NewTimer(checkInterval)
		select {
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
		// The source logs what is wrong, and the last good keys stay.
		_ = s.refresh()
	}
}

// Close ends the goroutine and waits for it. Keys that are there stay for requests under
// way.
func (s *store) Close() error {
	s.mu.Lock()
	s.closed = true
	ended := s.ended
	s.mu.Unlock()
	s.cancel()
	if ended != nil {
		<-ended
	}
	return nil
}
