package engine

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/telemetry/tracing"
	"policyengine.dev/runtime/worker"
)

// Engine is one engine in a process. Make one with [New], which listens already, and
// [Engine.Run] it, which must be done to free what it holds.
type Engine struct {
	static   config.Engine
	logger   *slog.Logger
	worker   *worker.Worker
	metrics  *host.Metrics
	tracer   *tracing.Tracer
	traces   *telemetry.Traces // nil where nothing is traced
	grpc     *grpc.Server
	health   *health.Server
	admin    *http.Server
	pages    net.Listener
	serving  []*listener
	ready    atomic.Bool
	draining atomic.Bool
	streams  telemetry.Streams
	// inForce is closed when the first configuration is in force.
	inForce chan struct{}
}

// New returns an engine that listens and is not ready yet. What it needs of its
// surroundings (ports, sockets, certificates) it has taken or found wanting, all
// problems at once.
func New(static config.Engine, registry *worker.Registry, logger *slog.Logger) (*Engine, error) {
	e := &Engine{static: static, logger: logger, inForce: make(chan struct{})}
	if err := e.listen(); err != nil {
		return nil, err
	}
	recorder, err := e.newRecorder()
	if err != nil {
		e.closeListeners()
		return nil, err
	}
	e.metrics = host.NewMetrics(logger)
	e.worker = newWorker(static, registry, logger, e.metrics, recorder)
	registered := prometheus.NewRegistry()
	registered.MustRegister(admin.NewCollector(e.worker, &e.streams, e.traces), e.metrics,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	e.admin = &http.Server{
		Handler: admin.NewHandler(admin.Options{
			Worker: e.worker, Metrics: registered, Draining: e.draining.Load, Pprof: static.Pprof,
			Build:  admin.Build{Engine: Version(), Go: runtime.Version()},
			Logger: logger,
		}),
		ReadTimeout: 10 * time.Second,
		// Long enough for a slow reader of a large dump.
		WriteTimeout:   time.Minute,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	e.newServer()
	return e, nil
}

// Addr is where the listener of that index in engine.yaml listens.
func (e *Engine) Addr(i int) net.Addr { return e.serving[i].Addr() }

// AdminAddr is where the admin pages are.
func (e *Engine) AdminAddr() net.Addr { return e.pages.Addr() }

// Ready is closed when the first valid configuration is in force.
func (e *Engine) Ready() <-chan struct{} { return e.inForce }

// runUntil runs the engine until a signal comes, and ends it at once when a second
// one does.
func (e *Engine) runUntil(signals <-chan os.Signal) error {
	stop, cancelStop := context.WithCancel(context.Background())
	kill, cancelKill := context.WithCancel(context.Background())
	defer cancelStop()
	defer cancelKill()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for _, cancel := range []func(){cancelStop, cancelKill} {
			select {
			case s := <-signals:
				e.logger.Info("signal received", slog.String("signal", s.String()))
				cancel()
			case <-ended:
				return
			}
		}
	}()
	return e.Run(stop, kill)
}

// Run serves until stop ends, and then drains: health says NOT_SERVING, after
// drain.delay connections are asked to go away, and streams in flight have until
// drain.deadline, or until kill ends. It returns why the engine could not go on, or
// nil after a drain. Run is called once.
func (e *Engine) Run(stop, kill context.Context) error {
	work, cancel := context.WithCancel(context.Background())
	defer cancel()
	failures := make(chan error, len(e.serving)+2)
	go func() { failures <- e.follow(work) }()
	go func() { failures <- e.admin.Serve(e.pages) }()
	for _, l := range e.serving {
		go func() { failures <- e.grpc.Serve(l) }()
	}
	var err error
	select {
	case <-stop.Done():
		e.drain(kill)
	case err = <-failures:
		// Whatever it was, without it the engine is not whole.
	}
	cancel()
	return errors.Join(err, e.close())
}

// follow applies configurations until ctx ends. It returns why the first one was
// refused.
func (e *Engine) follow(ctx context.Context) error {
	err := config.FileSource{Path: e.static.Chains}.Run(ctx, e.apply)
	if err == nil {
		<-ctx.Done()
	}
	return err
}

// drain ends the streams in flight, each in its own time.
func (e *Engine) drain(kill context.Context) {
	e.logger.Info("draining", slog.Duration("delay", e.static.Drain.Delay), slog.Duration("deadline", e.static.Drain.Deadline))
	e.draining.Store(true)
	e.health.Shutdown()
	wait(kill, e.static.Drain.Delay)
	done := make(chan struct{})
	go func() { e.grpc.GracefulStop(); close(done) }()
	deadline := time.NewTimer(e.static.Drain.Deadline)
	defer deadline.Stop()
	select {
	case <-done:
		e.logger.Info("drained")
		return
	case <-deadline.C:
		e.logger.Warn("the drain's deadline has passed with streams still open")
	case <-kill.Done():
		e.logger.Warn("ending at once")
	}
	e.stop()
}

// stop ends every stream. A policy that does not come back must not keep the process,
// so that handlers are not waited for without end.
func (e *Engine) stop() {
	done := make(chan struct{})
	go func() { e.grpc.Stop(); close(done) }()
	select {
	case <-done:
	case <-time.After(closing):
		e.logger.Warn("policies have not come back; their calls are given up")
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// closing bounds what has to be let go of at the very end.
const closing = 5 * time.Second

// close lets go of everything.
func (e *Engine) close() error {
	e.stop()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	err := e.worker.Close(ctx)
	e.closeTracer()
	e.closeListeners()
	return errors.Join(err, e.admin.Close())
}

// tracingEnd bounds how long the end of the process waits for a collector.
const tracingEnd = 2 * time.Second

// closeTracer sends the last spans. That they cannot be sent is no failure of the
// engine's.
func (e *Engine) closeTracer() {
	if e.tracer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), tracingEnd)
	defer cancel()
	if err := e.tracer.Shutdown(ctx); err != nil {
		e.logger.Warn("the last spans were not sent", slog.Any("error", err))
	}
}

func (e *Engine) setServing() {
	for _, service := range []string{"", kernel.ServiceName} {
		e.health.SetServingStatus(service, healthpb.HealthCheckResponse_SERVING)
	}
	e.logger.Info("ready")
}
