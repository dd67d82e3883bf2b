package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"os"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/telemetry/tracing"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// newWorker returns the worker that runs the policies in this process.
func newWorker(static config.Engine, registry *worker.Registry, logger *slog.Logger, metrics *host.Metrics, recorder telemetry.Recorder, refusals *telemetry.RefusalLog) *worker.Worker {
	clock := host.Clock{}
	shared := policy.Host{Logger: logger, Clock: clock, Random: rand.Reader, HTTP: host.NewHTTPClient(), Dial: new(net.Dialer).DialContext, Secrets: host.NewSecrets(clock), Files: host.NewFiles(clock), Backends: host.NewBackends(backendsOf(static))}
	return worker.New(registry, worker.Options{
		Host: shared,
		HostFor: func(chain, id string, v *worker.Version) policy.Host {
			h := shared
			h.Logger = worker.PolicyLogger(logger, chain, id, v)
			h.Metrics = metrics.For(host.Place{Chain: chain, ID: id, Policy: v.Name, Version: v.Version})
			return h
		},
		Forget: func(chain, id string, v *worker.Version) {
			metrics.Forget(host.Place{Chain: chain, ID: id, Policy: v.Name, Version: v.Version})
		},
		Recorder:  recorder,
		Detail:    static.Telemetry.Metrics.Detail,
		Refusals:  refusals,
		HoldLimit: int(static.Limits.Body),
	})
}

// backendsOf are the backends that engine.yaml declares.
func backendsOf(static config.Engine) []host.Backend {
	var all []host.Backend
	for _, b := range static.Backends {
		declared := host.Backend{
			Name: b.Name, URL: b.URL, Timeout: b.Timeout, MaxConcurrent: b.MaxConcurrent, MaxResponse: b.MaxResponse,
			Failures: b.BreakerFailures, Pause: b.BreakerPause,
		}
		if t := b.TLS; t != nil {
			declared.TLS = host.BackendTLS(*t)
		}
		all = append(all, declared)
	}
	return all
}

// newRecorder returns who listens to decisions, or nil.
func (e *Engine) newRecorder() (telemetry.Recorder, error) {
	var all []telemetry.Recorder
	if t := e.static.Telemetry.Tracing; t.Endpoint != "" {
		instance, err := os.Hostname()
		if err != nil {
			e.logger.Warn("spans do not say which instance they are of", slog.Any("error", err))
		}
		e.traces = new(telemetry.Traces)
		tracer, err := tracing.New(context.Background(), tracing.Options{
			Endpoint: t.Endpoint, Insecure: t.Insecure, SampleRatio: t.SampleRatio,
			Version: moduleVersion(), Instance: instance, Logger: e.logger, Counts: e.traces,
		})
		if err != nil {
			return nil, err
		}
		e.tracer = tracer
		all = append(all, tracer)
	}
	if e.logger.Enabled(context.Background(), slog.LevelDebug) {
		all = append(all, telemetry.DecisionLog{Logger: e.logger, All: true})
	}
	return telemetry.Recorders(all...), nil
}

// apply puts a configuration in force, or says why not.
func (e *Engine) apply(ctx context.Context, update config.Update) error {
	defer e.forget()
	if err := update.Problems(e.update(ctx, update)); err != nil {
		e.refuse(update.Spec.Version, "chains and routes refused", err)
		return err
	}
	if update.LeftOut != nil {
		e.refuse(update.Spec.Version, "part of the control plane's resources is refused", update.LeftOut)
	} else {
		e.refused = ""
	}
	if !e.ready.Load() {
		loaded()
		e.ready.Store(true)
		e.setServing()
		close(e.inForce)
	}
	return nil
}

// refuse records and logs why a configuration, or a part of it, was refused. One that is
// tried again and again is logged when there is news.
func (e *Engine) refuse(version, message string, err error) {
	e.worker.Refuse(version, err)
	if why := version + err.Error(); why != e.refused {
		e.refused = why
		e.logger.Error(message, slog.String("version", version), slog.Bool("ready", e.ready.Load()), slog.Any("error", err))
	}
}

// forget drops the counts of answers of policies that are gone. Those of their metrics go one by one: see newWorker.
func (e *Engine) forget() {
	work := e.worker.Work()
	work.ChainsReused = 0
	if work == e.forgot {
		return // the same policies as before
	}
	e.forgot = work
	details := map[string]bool{worker.EngineDetails: true, "": true}
	places := map[host.Place]bool{}
	for v := range e.worker.InUse {
		details[worker.EngineDetails+v.String()+"."] = true
		// What instances share is at no place of a chain.
		places[host.Place{Policy: v.Name, Version: v.Version}] = true
	}
	e.streams.KeepResponses(func(policy string) bool { return details[policy] })
	e.metrics.KeepShared(func(p host.Place) bool { return places[p] })
}

func (e *Engine) update(ctx context.Context, update config.Update) worker.Problems {
	limits := checkLimits(e.static, update.Spec)
	if update.Err != nil || limits != nil {
		_, err := e.worker.Check(update.Spec)
		return append(problemsOf(err), limits...)
	}
	warnings, err := e.worker.Update(ctx, update.Spec)
	for _, d := range warnings {
		e.logger.Warn("chains and routes", slog.String("warning", d.Error()))
	}
	return problemsOf(err)
}

// checkLimits finds chains that would accept bodies which the server does not.
func checkLimits(static config.Engine, spec worker.Spec) (problems worker.Problems) {
	most := largestBody(static)
	for i, c := range spec.Chains {
		if c.BodyLimit > most {
			problems = append(problems, worker.Problem{
				Path:    fmt.Sprintf("chains[%d].bodyLimit", i),
				Message: fmt.Sprintf("%d bytes are more than a message to this engine may have", c.BodyLimit),
				Remedy:  fmt.Sprintf("at most %d, or raise limits.body in engine.yaml", most),
			})
		} else if all := static.Limits.Memory; all > 0 && c.BodyLimit > all {
			problems = append(problems, worker.Problem{
				Path:    fmt.Sprintf("chains[%d].bodyLimit", i),
				Message: fmt.Sprintf("%d bytes are more than all bodies in flight together may take", c.BodyLimit),
				Remedy:  fmt.Sprintf("at most %d, or raise limits.memory in engine.yaml", all),
			})
		}
	}
	return problems
}

// source shows the kernel the worker of this process.
type source struct{ worker *worker.Worker }

// Acquire implements kernel.Source.
func (s source) Acquire() kernel.Snapshot {
	if snapshot := s.worker.Acquire(); snapshot != nil {
		return inForce{snapshot}
	}
	return nil
}

// inForce is a snapshot as the kernel sees it.
type inForce struct{ *worker.Snapshot }

// Begin implements kernel.Snapshot.
func (s inForce) Begin(c kernel.Chain) worker.Executor { return s.Snapshot.Begin(c.(*worker.Chain)) }

// BeginShadow implements kernel.Snapshot.
func (s inForce) BeginShadow(c kernel.Chain) worker.Executor {
	return s.Snapshot.BeginShadow(c.(*worker.Chain))
}

// Chain implements kernel.Snapshot.
func (s inForce) Chain(route string) (kernel.Chain, bool) {
	c, ok := s.Snapshot.Chain(route)
	return c, ok
}
