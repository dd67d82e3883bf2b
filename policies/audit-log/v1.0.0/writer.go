package auditlog

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"time"

	"policyengine.dev/sdk/policy"
)

// Bounds of the writer.
const (
	// batchSize is how many bytes are written at once.
	batchSize = 64 << 10
	// rotationCheck is how often the file is compared with what its path names.
	rotationCheck = time.Second
	// closeTimeout bounds how long the end waits for what is still to be written.
	closeTimeout = 5 * time.Second
	// complaintEvery bounds how often trouble is logged.
	complaintEvery = time.Minute
)

// writer writes entries to one output, on its own goroutine.
type writer struct {
	path   string // "" is standard output
	redact *regexp.Regexp
	clock  policy.Clock
	logger *slog.Logger

	queue   chan *entry
	stop    chan struct{}
	stopped sync.Once
	closed  error
	ended   chan struct{}
	started bool

	// The rest belongs to the goroutine, and to open before there is one.
	out io.Writer
	// file is out where it is a file.
	file                  *os.File
	checked, complained   time.Time
	torn                  bool
	written, full, failed policy.Counter
}

func newWriter(path string, queue int, redact *regexp.Regexp, host policy.Host) *writer {
	cause := func(v string) policy.Label { return policy.Label{Name: "cause", Value: v} }
	const help = "Audit lines that were dropped: since the queue was full, or since they could not be written."
	return &writer{
		path: path, redact: redact, clock: host.Clock, logger: host.Logger,
		queue: make(chan *entry, queue), stop: make(chan struct{}), ended: make(chan struct{}),
		written: host.Metrics.Counter("lines_written_total", "Audit lines that were written."),
		full:    host.Metrics.Counter("lines_dropped_total", help, cause("full")),
		failed:  host.Metrics.Counter("lines_dropped_total", help, cause("failed")),
	}
}

// add hands an entry over, or drops it if the queue is full. It never waits.
func (w *writer) add(e *entry) {
	select {
	case w.queue <- e:
	default:
		w.full.Add(1)
	}
}

// open opens the output, if it is not open yet.
func (w *writer) open() error {
	if w.path == "" {
		w.out = os.Stdout
		return nil
	}
	if w.file != nil {
		return nil
	}
	f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening the audit log: %w", err)
	}
	w.file, w.out, w.checked = f, f, w.clock.Now()
	return nil
}

func (w *writer) start() {
	w.started = true
	go w.run()
}

func (w *writer) run() {
	defer close(w.ended)
	buffer := make([]byte, 0, batchSize)
	for {
		select {
		case e := <-w.queue:
			buffer = w.batch(buffer[:0], e)
		case <-w.stop:
			for {
				select {
				case e := <-w.queue:
					buffer = w.batch(buffer[:0], e)
				default:
					return
				}
			}
		}
	}
}

// batch writes e, and what waits behind it, at once.
func (w *writer) batch(buffer []byte, e *entry) []byte {
	lines := 0
	for e != nil {
		buffer = append(buffer, e.line(w.redact)...)
		lines++
		e = nil
		if len(buffer) < batchSize {
			select {
			case e = <-w.queue:
			default:
			}
		}
	}
	if err := w.write(buffer); err != nil {
		w.failed.Add(float64(lines))
		w.complain(err)
		return buffer
	}
	w.written.Add(float64(lines))
	return buffer
}

func (w *writer) write(b []byte) error {
	if err := w.rotate(); err != nil {
		return err
	}
	if w.torn {
		// A line break ends what was written of a line before the disk was full.
		if _, err := w.out.Write([]byte("\n")); err != nil {
			return err
		}
		w.torn = false
	}
	n, err := w.out.Write(b)
	w.torn = err != nil && n > 0
	return err
}

// rotate opens the file again if its path names another one, or none.
func (w *writer) rotate() error {
	if w.path == "" {
		return nil
	}
	now := w.clock.Now()
	if w.file != nil {
		if now.Sub(w.checked) < rotationCheck {
			return nil
		}
		w.checked = now
		mine, err := w.file.Stat()
		named, statErr := os.Stat(w.path)
		if err == nil && statErr == nil && os.SameFile(mine, named) {
			return nil
		}
		_ = w.file.Close()
		w.file, w.torn = nil, false
	}
	return w.open()
}

// complain logs trouble, at most once a minute.
func (w *writer) complain(err error) {
	now := w.clock.Now()
	if !w.complained.IsZero() && now.Sub(w.complained) < complaintEvery {
		return
	}
	w.complained = now
	w.logger.Error("audit lines could not be written and are lost", slog.Any("error", err))
}

// close ends the writer once it has written what waits, or after a while. It does so
// once.
func (w *writer) close() error {
	w.stopped.Do(func() { w.closed = w.end() })
	return w.closed
}

func (w *writer) end() error {
	close(w.stop)
	if w.started {
		timer := w.clock.NewTimer(closeTimeout)
		defer timer.Stop()
		select {
		case <-w.ended:
		case <-timer.C():
			return fmt.Errorf("the audit log was not written to its end within %s", closeTimeout)
		}
	}
	if w.file != nil {
		return w.file.Close()
	}
	return nil
}
