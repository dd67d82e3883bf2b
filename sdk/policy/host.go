package policy

import (
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Host is what the runtime gives to a policy's constructor. Every field is set,
// by the runtime and by policytest alike. It is a struct so that it can grow.
type Host struct {
	// Logger carries the policy's name, version and chain. Log nothing per
	// request above debug level, and no secrets.
	Logger *slog.Logger
	// Clock tells the time. Policies never call time.Now, so that tests need
	// not wait.
	Clock Clock
	// Random gives random bytes that nobody can predict. It never fails and is
	// safe for concurrent use. Policies never call crypto/rand or math/rand, so
	// that an exchange can be replayed.
	Random io.Reader
	// Backends are the servers that a policy may ask while a request waits: see
	// [OpenBackend].
	Backends Backends
	// HTTP is for fetches off the request path. It has a timeout, bounds
	// redirects and response size, and is shared.
	HTTP *http.Client
	// Secrets resolves references to secrets.
	Secrets Secrets
	// Files reads files that are no secrets: see [WatchFile].
	Files Files
	// Metrics makes metric handles, which carry policy, version and chain.
	Metrics Metrics
	// Shared has what several instances have in common: see [Share].
	Shared Shared
}

// Clock tells the time. Implementations are safe for concurrent use.
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
	// Value is the current value. A file is read again after it has changed;
	// where reading it fails, the last good value stays. Cheap enough for the
	// request path, and safe for concurrent use.
	Value() (string, error)
}

// Metrics makes metric handles. Make them in New: names and labels are fixed then,
// which bounds their number. A name consists of lower case letters, digits and
// underscores; the runtime prefixes it. Asking twice for the same name and labels
// returns the same handle.
type Metrics interface {
	Counter(name, help string, labels ...Label) Counter
	Gauge(name, help string, labels ...Label) Gauge
	// Histogram's buckets are upper bounds in rising order, in the unit that
	// the name ends in (seconds, bytes).
	Histogram(name, help string, buckets []float64, labels ...Label) Histogram
}

// Label is one metric label. Values come from the code or the configuration, never
// from a request.
type Label struct{ Name, Value string }

// Counter only rises. Safe for concurrent use.
type Counter interface{ Add(n float64) }

// Gauge rises and falls. Safe for concurrent use.
type Gauge interface{ Set(v float64) }

// Histogram counts observations. Safe for concurrent use.
type Histogram interface{ Observe(v float64) }
