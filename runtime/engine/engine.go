package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/bundle"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/xds"
	"policyengine.dev/runtime/explain"
	"policyengine.dev/runtime/extproc"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/memory"
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
	extproc  *extproc.Service
	health   *health.Server
	admin    *http.Server
	pages    net.Listener
	serving  []*listener
	ready    atomic.Bool
	draining atomic.Bool
	streams  telemetry.Streams
	// memory is what bodies in flight are counted in.
	memory *memory.Account
	// recorder and refusals are nil where nobody listens.
	recorder telemetry.Recorder
	refusals *telemetry.RefusalLog
	// xds is the control plane's client; nil where chains and routes come from files.
	xds *xds.Source
	// expressions are those of the filter's mutation rules.
	expressions negotiate.Expressions
	// inForce is closed when the first configuration is in force.
	inForce chan struct{}
	// leaving ends when connections are asked to go away; leave ends it.
	leaving context.Context
	leave   context.CancelFunc
	// refused is why the newest configuration was refused, as it was logged, and forgot
	// what configurations had cost when metrics were forgotten last. Only apply uses
	// them.
	refused string
	forgot  worker.Work
}

// New returns an engine that listens and is not ready yet. What it needs of its
// surroundings (ports, sockets, certificates) it has taken or found wanting, all
// problems at once.
func New(static config.Engine, registry *worker.Registry, logger *slog.Logger) (*Engine, error) {
	return newEngine(static, registry, nil, logger)
}

// newEngine is New for a bundle that the manifest describes; nil is none.
func newEngine(static config.Engine, registry *worker.Registry, manifest *bundle.Manifest, logger *slog.Logger) (*Engine, error) {
	e := &Engine{static: static, logger: logger, inForce: make(chan struct{})}
	e.memory = memory.NewAccount(bodyMemory(static))
	e.leaving, e.leave = context.WithCancel(context.Background())
	var err error
	rules := static.Filter.MutationRules
	if e.expressions, err = negotiate.NewExpressions(rules.AllowExpression, rules.DisallowExpression); err != nil {
		return nil, err
	}
	if err := e.listen(); err != nil {
		return nil, err
	}
	if e.recorder, err = e.newRecorder(); err != nil {
		e.closeListeners()
		return nil, err
	}
	if l := static.Telemetry.Logs.Refusals; l.Enabled {
		e.refusals = telemetry.NewRefusalLog(logger, l.PerReason, l.PerSecond)
	}
	e.metrics = host.NewMetrics(logger)
	e.worker = newWorker(static, registry, logger, e.metrics, e.recorder, e.refusals)
	if static.XDS != nil {
		e.xds = e.newXDS(*static.XDS)
	}
	registered := prometheus.NewRegistry()
	version := admin.Version{Build: build(), Bundle: manifest}
	registered.MustRegister(version, admin.NewCollector(e.worker, &e.streams, e.traces, e.memory), e.metrics,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if e.xds != nil {
		registered.MustRegister(admin.NewSourceCollector(e.controlPlane))
	}
	e.admin = &http.Server{
		Handler: admin.NewHandler(admin.Options{
			Worker: e.worker, Memory: e.memory, Metrics: registered, Ready: e.ready.Load, Draining: e.draining.Load, Pprof: static.Pprof,
			Version: version,
			Filters: e.filters,
			Source:  e.controlPlane,
			Explain: func(s *worker.Snapshot, route string) admin.Explanation {
				return explain.Route(s, route, explained(static))
			},
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
// nil after a drain, however that ended. Run is called once.
func (e *Engine) Run(stop, kill context.Context) error {
	work, cancel := context.WithCancel(context.Background())
	defer cancel()
	failures := make(chan error, len(e.serving)+2)
	go func() { failures <- e.follow(work) }()
	go func() { failures <- e.admin.Serve(e.pages) }()
	go returnMemory(work, e.memory)
	e.logger.Info("admin pages", slog.String("address", written(e.pages.Addr())))
	for _, l := range e.serving {
		e.logger.Info("listening", slog.String("address", written(l.Addr())), slog.Bool("tls", l.tls != nil))
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
	e.close(kill)
	return err
}

// follow applies configurations until ctx ends. It returns why the first one was
// refused, unless the engine is to wait for a better one.
func (e *Engine) follow(ctx context.Context) error {
	var source config.Source = config.FileSource{Path: e.static.Chains, Wait: e.static.OnInvalidStart == config.WaitOnInvalidStart}
	if e.xds != nil {
		source = e.xds
	}
	err := source.Run(ctx, e.apply)
	if err == nil {
		<-ctx.Done()
	}
	return err
}

// drain lets the streams in flight end, each in its own time, until there is none any
// more for that.
func (e *Engine) drain(kill context.Context) {
	e.logger.Info("draining", slog.Duration("delay", e.static.Drain.Delay), slog.Duration("deadline", e.static.Drain.Deadline))
	e.draining.Store(true)
	e.health.Shutdown()
	wait(kill, e.static.Drain.Delay)
	e.leave()
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
}

// stop ends every stream. A policy that does not come back must not keep the process,
// so that handlers are not waited for once ctx has ended.
func (e *Engine) stop(ctx context.Context) {
	done := make(chan struct{})
	go func() { e.grpc.Stop(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		e.logger.Warn("calls of policies have not returned, and are abandoned")
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

const (
	// closing bounds each step of the very end, and tracingEnd the sending of the
	// last spans.
	closing    = 5 * time.Second
	tracingEnd = 2 * time.Second
	// atOnce does where the process is to end at once.
	atOnce = 100 * time.Millisecond
)

// close lets go of everything. What goes wrong then is logged: the process ends all
// the same, and has done what it was for.
func (e *Engine) close(kill context.Context) {
	var err error
	e.leave()
	bounded(kill, closing, e.stop)
	bounded(kill, closing, func(ctx context.Context) { err = e.closeWorker(ctx) })
	if e.tracer != nil {
		bounded(kill, tracingEnd, func(ctx context.Context) { err = errors.Join(err, e.tracer.Shutdown(ctx)) })
	}
	// The admin server closes its listener itself, and takes it for an error to
	// find it closed.
	err = errors.Join(err, e.admin.Close())
	e.closeListeners()
	if err != nil {
		e.logger.Warn("the end was not clean", slog.Any("error", err))
	}
}

// closeWorker lets go of the policies, and waits for that until ctx ends: a
// configuration that is just being applied may be held up in a policy that starts.
func (e *Engine) closeWorker(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- e.worker.Close(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("closing policies: %w", ctx.Err())
	}
}

// bounded calls f with a context for a step of the end.
func bounded(kill context.Context, limit time.Duration, f func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	defer context.AfterFunc(kill, func() { time.AfterFunc(atOnce, cancel) })()
	f(ctx)
}

func (e *Engine) setServing() {
	for _, service := range []string{"", extproc.ServiceName} {
		e.health.SetServingStatus(service, healthpb.HealthCheckResponse_SERVING)
	}
	e.logger.Info("ready")
}
