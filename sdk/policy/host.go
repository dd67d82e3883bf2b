package policy

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Host has everything that a policy gets from outside. The runtime and policytest set every
// field. It is a struct so that fields can be added.
type Host struct {
	// Logger adds the policy's name, version and chain to each line. Log nothing per
	// request above debug level, and no secrets.
	Logger *slog.Logger
	// Clock is the source of time. Policies never call time.Now, so that tests need not
	// wait.
	Clock Clock
	// Random returns unpredictable random bytes. It never fails and is safe for concurrent
	// use. Policies never call crypto/rand or math/rand, so that an exchange can be
	// replayed.
	Random io.Reader
	// Backends are the servers that a policy may call while a request waits: see
	// [OpenBackend].
	Backends Backends
	// HTTP is for fetches outside of the request path. It has a timeout, limits redirects
	// and the size of responses, and is shared.
	HTTP *http.Client
	// Dial connects to a server that speaks another protocol than HTTP, such as Redis. It
	// uses no proxy, and ctx bounds the time that it takes.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Secrets resolves references to secrets.
	Secrets Secrets
	// Files reads files without secrets: see [WatchFile].
	Files Files
	// Metrics creates metrics with the labels policy, version and chain.
	Metrics Metrics
	// Shared has the resources that several instances share: see [Share].
	Shared Shared
}

// Clock is a source of time. Implementations are safe for concurrent use.
type Clock interface {
	// Now is the current time.
	Now() time.Time
	// NewTimer returns a timer that sends once, after d.
	NewTimer(d time.Duration) Timer
}

// Timer is what [Clock.NewTimer] returns: as time.Timer.
type Timer interface {
	C() <-chan time.Time
	// Stop reports whether it stopped the timer before it fired.
	Stop() bool
}

// Secrets gives access to secrets by reference. Safe for concurrent use.
type Secrets interface {
	// Open returns a source for s. It does no I/O: a secret that cannot be
	// read is an error of [SecretSource.Value].
	Open(s Secret) SecretSource
}

// SecretSource is a secret that may change while the process runs.
type SecretSource interface {
	// Value returns the current value. A file is read again after a change. If that fails,
	// the last valid value stays in use. Cheap enough for the request path, and safe for
	// concurrent use.
	Value() (string, error)
}

// Metrics creates metrics. Create them in New: names and labels are then fixed, which
// limits their number. A name consists of lower-case letters, digits and underscores; the
// runtime adds a prefix. The same name and labels return the same metric.
type Metrics interface {
	Counter(name, help string, labels ...Label) Counter
	Gauge(name, help string, labels ...Label) Gauge
	// The buckets of Histogram are upper bounds in ascending order, in the unit at the end
	// of the name (seconds, bytes).
	Histogram(name, help string, buckets []float64, labels ...Label) Histogram
}

// Label is one metric label. Values come from the code or the configuration, never
// from a request.
type Label struct{ Name, Value string }

// Counter only increases. Safe for concurrent use.
type Counter interface{ Add(n float64) }

// Gauge increases and decreases. Safe for concurrent use.
type Gauge interface{ Set(v float64) }

// Histogram counts observations. Safe for concurrent use.
type Histogram interface{ Observe(v float64) }
