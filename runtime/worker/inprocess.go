package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
)

// inProcess calls policies in this process, on the goroutine of the exchange.
type inProcess struct{}

// Call implements [Caller].
func (inProcess) Call(_ context.Context, c *Call) {
	for c.run.ask(c) {
	}
}

// ask runs the call's next step and applies its answer. It reports whether another one
// runs.
func (r *run) ask(c *Call) bool {
	if c.next == c.end {
		return false
	}
	s := r.steps[c.next]
	a := Answer{At: time.Duration(r.now - r.began)}
	if r.admits(s, &a) && !r.try(s, c.next, &a) {
		// The chain goes on elsewhere. This run is the policy's to keep.
		c.out, c.ended = Outcome{Kind: TakenOver}, true
		return false
	}
	return c.take(s, &a)
}

// admits reports whether the step runs in this phase. If it does not, a is its answer.
// The step's condition is evaluated at its first phase. An error in it is the policy's
// error; where that means to go on, the policy is left out.
func (r *run) admits(s *step, a *Answer) bool {
	if r.lost(s) || s.exempt && r.decided[s.index] == PassedOver {
		a.Kind = LeftOut
		return false
	}
	if s.when == nil {
		return true
	}
	switch r.decided[s.index] {
	case ConditionTrue:
		return true
	case ConditionFailed:
		a.Kind = LeftOut
		return false
	case ConditionUnknown:
		ok, err := s.when.Eval(&r.conditions)
		if err != nil {
			a.fail(conditionFailure(err))
			return false
		}
		if ok {
			return true
		}
	}
	a.Kind = Skipped
	return false
}

// conditionFailure is the failure of a condition that could not be evaluated.
func conditionFailure(err error) (FailureKind, error) {
	var eval *expr.EvalError
	if errors.As(err, &eval) && eval.TooLarge() {
		return ConditionTooLarge, &conditionError{err}
	}
	return ConditionError, &conditionError{err}
}

type conditionError struct{ err error }

func (e *conditionError) Error() string { return "evaluating the condition: " + e.err.Error() }
func (e *conditionError) Unwrap() error { return e.err }

// deadline is until when a step may take that begins at now.
func (r *run) deadline(s *step, now int64) int64 {
	deadline := min(now+s.timeout, r.budgetEnd)
	if s.onError == ContinueOnError || r.shadows(s) {
		// The request is to go on without it, and needs time for that.
		deadline = min(deadline, now+(r.budgetEnd-now)/2)
	}
	return deadline
}

// try calls the policy of the step at index i of the phase, and puts into a what came of
// it. It returns false where the call was abandoned meanwhile.
func (r *run) try(s *step, i int, a *Answer) (back bool) {
	if r.chunkPhase() {
		// First of all, so that nothing is lost if the step fails and the
		// chain goes on.
		r.unhold(s)
	}
	if kind, err := s.instance.available(); err != nil {
		a.fail(kind, err)
		return true
	}
	deadline := r.deadline(s, r.now)
	if deadline <= r.now {
		a.fail(NoTime, nil)
		return true
	}
	r.at, r.called = i, r.now
	r.prepare(s)
	ctx := r.contexts.next(r.ctx, deadline)
	r.stepCtx = ctx
	armed := r.watch.arm(deadline)
	err := s.instance.call(r, ctx, s, a)
	if !r.watch.disarm(armed) {
		ctx.end()
		r.sideDone(s)
		return false
	}
	r.now = r.clock.now()
	ctx.end()
	a.Took = time.Duration(r.now - r.called)
	a.Noted = r.beside.Take()
	r.keepState(s)
	switch e := err.(type) {
	case nil:
	case *panicError:
		a.fail(Panicked, err)
	case *callError:
		if e.deadline && r.now >= deadline {
			a.fail(Late, err)
		} else {
			a.fail(ReturnedError, err)
		}
	}
	return true
}

// panicError is a panic of a policy, with its stack.
type panicError struct {
	text  string
	stack []byte
}

// newPanicError is called where the panic is contained: what it was called with may
// have a method of the policy's that says what it is.
func newPanicError(value any) *panicError {
	return &panicError{text: fmt.Sprintf("the policy panicked: %v", value), stack: debug.Stack()}
}

func (e *panicError) Error() string { return e.text }

// callError is what a policy's error says. The error itself is left alone once the call
// is over: its methods are the policy's code, and may panic or hang.
type callError struct {
	text string
	// deadline says that it is, or wraps, context.DeadlineExceeded.
	deadline bool
}

func (e *callError) Error() string { return e.text }

// call calls the policy in the run's phase and contains its panics. An error is a
// *callError or a *panicError.
func (in *instance) call(r *run, ctx *stepContext, s *step, a *Answer) (err error) {
	returned := false
	defer func() {
		if v := recover(); v != nil {
			err = newPanicError(v)
		} else if !returned {
			r.exit(s)
		}
	}()
	request, response := &r.request, &r.response
	if r.shadows(s) {
		request, response = &r.requestShadow, &r.responseShadow
	}
	switch r.phase {
	case policy.RequestHeaders:
		a.Request, err = in.requestHeaders.OnRequestHeaders(ctx, request)
	case policy.RequestBody:
		a.Request, err = in.requestBody.OnRequestBody(ctx, request)
	case policy.RequestTrailers:
		a.Request, err = in.requestTrailers.OnRequestTrailers(ctx, request)
	case policy.ResponseHeaders:
		a.Response, err = in.responseHeaders.OnResponseHeaders(ctx, response)
	case policy.ResponseBody:
		a.Response, err = in.responseBody.OnResponseBody(ctx, response)
	case policy.ResponseTrailers:
		a.Response, err = in.responseTrailers.OnResponseTrailers(ctx, response)
	case policy.RequestBodyChunks:
		a.piece = r.piece(s)
		a.Chunk, err = in.requestChunks.OnRequestBodyChunk(ctx, request, a.piece)
	case policy.ResponseBodyChunks:
		a.piece = r.piece(s)
		a.Chunk, err = in.responseChunks.OnResponseBodyChunk(ctx, response, a.piece)
	}
	if err != nil {
		err = &callError{text: err.Error(), deadline: errors.Is(err, context.DeadlineExceeded)}
	}
	returned = true
	return err
}
