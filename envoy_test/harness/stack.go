package harness

import (
	"context"
	"fmt"
	"os"

	"policyengine.dev/tools/envoy"
)

// Stack is an upstream, an engine and an Envoy that belong together.
type Stack struct {
	Upstream *Upstream
	// Engine is nil where something else answers Envoy.
	Engine *Engine
	Envoy  *Envoy
	// Dir is the temporary directory of their files.
	Dir string
}

// Options say what a [Stack] consists of.
type Options struct {
	// Envoy is the path of the Envoy binary; empty stands for the pinned one
	// of package tools/envoy.
	Envoy string
	// Engine says which engine to start; its Dir is set by Start. Where its
	// Path is empty none is started and Bootstrap.Engine says who answers.
	Engine EngineOptions
	// Bootstrap describes Envoy; the addresses of upstream and engine are
	// filled in where they are empty.
	Bootstrap Bootstrap
	// Concurrency is the number of Envoy's worker threads; 0 counts as 1.
	Concurrency int
	// LogLevel is Envoy's own; empty counts as warning.
	LogLevel string
}

// Start starts the upstream, then the engine, then Envoy, each when the one before
// it is ready. On an error nothing is left running.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	if o.Envoy == "" {
		if o.Envoy, err = envoy.Locate(); err != nil {
			return nil, err
		}
	}
	s := &Stack{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.Dir, err = ShortDir(); err != nil {
		return nil, err
	}
	if s.Upstream, err = StartUpstream(); err != nil {
		return nil, err
	}
	if o.Engine.Path != "" {
		o.Engine.Dir = s.Dir
		if s.Engine, err = StartEngine(ctx, o.Engine); err != nil {
			return nil, err
		}
		if o.Bootstrap.Engine == "" {
			o.Bootstrap.Engine = s.Engine.Address()
		}
	}
	if o.Bootstrap.Upstream == "" {
		o.Bootstrap.Upstream = s.Upstream.Address()
	}
	config, err := o.Bootstrap.JSON()
	if err != nil {
		return nil, fmt.Errorf("making Envoy's configuration: %w", err)
	}
	s.Envoy, err = StartEnvoy(ctx, EnvoyOptions{
		Path: o.Envoy, Config: config, Dir: s.Dir, Concurrency: o.Concurrency, LogLevel: o.LogLevel,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Address is host:port of Envoy's listener.
func (s *Stack) Address() string { return s.Envoy.Listener(MainListener) }

// Logs are the ends of what Envoy and the engine have written.
func (s *Stack) Logs() string {
	logs := ""
	if s.Engine != nil {
		logs += "the engine's log:\n" + indent(s.Engine.Log()) + "\n"
	}
	if s.Envoy != nil {
		logs += "Envoy's log:\n" + indent(s.Envoy.Log()) + "\n"
	}
	return logs
}

// Close stops everything, Envoy first, and removes the files.
func (s *Stack) Close() {
	if s.Envoy != nil {
		s.Envoy.Stop()
	}
	if s.Engine != nil {
		s.Engine.Stop()
	}
	if s.Upstream != nil {
		s.Upstream.Close()
	}
	if s.Dir != "" {
		_ = os.RemoveAll(s.Dir)
	}
}
