package extproc_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"policyengine.dev/runtime/kernel"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// source is a configuration that tests write down.
type source struct {
	notReady bool
	chains   map[string]*chain
	unknown  worker.UnknownRoute
	// acquired and released count uses of the snapshot.
	acquired, released atomic.Int64
}

func (s *source) Acquire() kernel.Snapshot {
	if s.notReady {
		return nil
	}
	s.acquired.Add(1)
	return s
}

func (s *source) Version() string { return "test" }

func (s *source) Release() { s.released.Add(1) }

func (s *source) Chain(route string) (kernel.Chain, bool) {
	c, ok := s.chains[route]
	return c, ok
}

func (s *source) Begin(c kernel.Chain) worker.Executor       { return c.(*chain).begin() }
func (s *source) BeginShadow(c kernel.Chain) worker.Executor { return c.(*chain).begin() }

func (s *source) OnUnknownRoute(string) worker.UnknownRoute { return s.unknown }

// step does a phase of a fake chain. A nil response lets the message go on.
type step func(ctx context.Context, x *exchange.Exchange) *policy.ImmediateResponse

// chain is a chain that does what tests say.
type chain struct {
	needs worker.Needs
	steps map[policy.Phase]step
	// chunks runs for chunk phases.
	chunks func(phase policy.Phase, c worker.Chunk) (worker.Chunk, *policy.ImmediateResponse)
	// held is how much its chunk steps hold back.
	held func() int64
	// stuck phases are taken over by another goroutine; the call that was
	// abandoned returns when release is closed.
	stuck   map[policy.Phase]bool
	release chan struct{}
	// exits are phases whose call ends its goroutine.
	exits map[policy.Phase]bool

	// ruledOut are phases in which no step runs any more once one has run.
	ruledOut policy.PhaseSet

	// gone are phases in which the stream ends before anything is decided.
	gone map[policy.Phase]bool

	// panics says that the chain panics, which leaves its executor behind.
	panics bool

	begun, ended atomic.Int64
	// unfinished is what End of the newest exchange was called with.
	unfinished atomic.Bool
	ran        atomic.Pointer[[]policy.Phase]
	given      atomic.Pointer[[]time.Duration]
	// refused is the last refusal of the kernel's own.
	refused atomic.Pointer[worker.Refusal]
}

// budgets are those of the phases that have run.
func (c *chain) budgets() []time.Duration {
	if p := c.given.Load(); p != nil {
		return *p
	}
	return nil
}

func (c *chain) Needs() worker.Needs {
	n := c.needs
	for p := range c.steps {
		n.Phases = n.Phases.With(p)
	}
	return n
}

// left is what the chain needs once a phase has run.
func (c *chain) left() worker.Needs {
	n := c.Needs()
	n.Phases &^= c.ruledOut
	n.HoldsRequestChunks = n.HoldsRequestChunks && n.Phases.Has(policy.RequestBodyChunks)
	n.HoldsResponseChunks = n.HoldsResponseChunks && n.Phases.Has(policy.ResponseBodyChunks)
	n.Conditional = false
	return n
}

func (c *chain) begin() worker.Executor {
	c.begun.Add(1)
	c.ran.Store(new([]policy.Phase))
	return &executor{chain: c, x: new(exchange.Exchange)}
}

// phases are those that have run on the newest exchange.
func (c *chain) phases() []policy.Phase {
	if p := c.ran.Load(); p != nil {
		return *p
	}
	return nil
}

type executor struct {
	chain *chain
	x     *exchange.Exchange
	ended bool
}

func (e *executor) Exchange() *exchange.Exchange { return e.x }

func (e *executor) Run(ctx context.Context, p policy.Phase, budget time.Duration, t worker.Resumer) worker.Outcome {
	e.note(p)
	given := append(append([]time.Duration(nil), e.chain.budgets()...), budget)
	e.chain.given.Store(&given)
	if e.chain.stuck[p] || e.chain.exits[p] {
		return e.abandon(ctx, p, t)
	}
	return e.run(ctx, p)
}

func (e *executor) note(p policy.Phase) {
	if e.ended {
		panic("used after its end")
	}
	ran := append(append([]policy.Phase(nil), e.chain.phases()...), p)
	e.chain.ran.Store(&ran)
}

func (e *executor) run(ctx context.Context, p policy.Phase) worker.Outcome {
	if e.chain.gone[p] {
		return worker.Outcome{Kind: worker.Gone}
	}
	if s := e.chain.steps[p]; s != nil {
		if r := s(ctx, e.x); r != nil {
			return worker.Outcome{Kind: worker.Respond, Response: r, Details: "policy_engine.fake@v1.0.0." + r.Reason}
		}
	}
	return worker.Outcome{}
}

func (e *executor) abandon(ctx context.Context, p policy.Phase, t worker.Resumer) worker.Outcome {
	other := &executor{chain: e.chain, x: e.x.Clone()}
	e.ended = true
	go func() { t.Resume(other, other.run(ctx, p)) }()
	if e.chain.exits[p] {
		runtime.Goexit()
	}
	<-e.chain.release
	return worker.Outcome{Kind: worker.TakenOver}
}

func (e *executor) RunChunk(_ context.Context, p policy.Phase, _ time.Duration, c worker.Chunk, _ worker.Resumer) worker.Outcome {
	e.note(p)
	if e.chain.chunks == nil {
		return worker.Outcome{Chunk: c}
	}
	c, r := e.chain.chunks(p, c)
	if r != nil {
		return worker.Outcome{Kind: worker.Respond, Response: r, Details: "policy_engine.fake@v1.0.0." + r.Reason}
	}
	return worker.Outcome{Chunk: c}
}

func (e *executor) Reject(_ context.Context, r worker.Refusal, _ time.Duration, _ worker.Resumer) worker.Outcome {
	e.chain.refused.Store(&r)
	return r.Reason.Outcome()
}

func (e *executor) Held() int64 {
	if e.chain.held == nil {
		return 0
	}
	return e.chain.held()
}

func (e *executor) Needs() worker.Needs {
	if len(e.chain.phases()) == 0 {
		return e.chain.Needs()
	}
	return e.chain.left()
}

func (e *executor) End(unfinished bool) {
	e.chain.unfinished.Store(unfinished)
	if e.ended {
		panic("ended twice")
	}
	e.ended = true
	e.chain.ended.Add(1)
}
