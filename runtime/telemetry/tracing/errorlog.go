package tracing

import (
	"log/slog"
	"sync"
	"time"
)

// ErrorLog writes what goes wrong with tracing to a log, a line a minute at most: a
// collector that is gone must not fill the disk. It is an otel.ErrorHandler. Safe for
// concurrent use.
type ErrorLog struct {
	logger     *slog.Logger
	mu         sync.Mutex
	last       time.Time
	suppressed int
}

// NewErrorLog returns one that writes to logger; nil drops everything.
func NewErrorLog(logger *slog.Logger) *ErrorLog {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &ErrorLog{logger: logger}
}

const errorInterval = time.Minute

// Handle implements otel.ErrorHandler.
func (l *ErrorLog) Handle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && time.Since(l.last) < errorInterval {
		l.suppressed++
		return
	}
	l.last = time.Now()
	attrs := []any{slog.Any("error", err)}
	if l.suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", l.suppressed))
		l.suppressed = 0
	}
	l.logger.Warn("tracing does not work; requests do", attrs...)
}
