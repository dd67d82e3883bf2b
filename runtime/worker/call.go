package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
)

// answer is what a policy returned: an action of the phase's kind.
type answer struct {
	request  policy.RequestAction
	response policy.ResponseAction
	chunk    policy.ChunkAction
	// piece is what a chunk policy was given, with the state it left there.
	piece *policy.Chunk
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
func (in *instance) call(r *run, ctx *stepContext, s *step) (a answer, err error) {
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
		a.request, err = in.requestHeaders.OnRequestHeaders(ctx, request)
	case policy.RequestBody:
		a.request, err = in.requestBody.OnRequestBody(ctx, request)
	case policy.RequestTrailers:
		a.request, err = in.requestTrailers.OnRequestTrailers(ctx, request)
	case policy.ResponseHeaders:
		a.response, err = in.responseHeaders.OnResponseHeaders(ctx, response)
	case policy.ResponseBody:
		a.response, err = in.responseBody.OnResponseBody(ctx, response)
	case policy.ResponseTrailers:
		a.response, err = in.responseTrailers.OnResponseTrailers(ctx, response)
	case policy.RequestBodyChunks:
		a.piece = r.piece(s)
		a.chunk, err = in.requestChunks.OnRequestBodyChunk(ctx, request, a.piece)
	case policy.ResponseBodyChunks:
		a.piece = r.piece(s)
		a.chunk, err = in.responseChunks.OnResponseBodyChunk(ctx, response, a.piece)
	}
	if err != nil {
		err = &callError{text: err.Error(), deadline: errors.Is(err, context.DeadlineExceeded)}
	}
	returned = true
	return a, err
}

// errAction: a type that embeds one of the SDK's actions is an action by Go's rules,
// and to pass over it might be to pass over a refusal.
var errAction = errors.New("the policy returned an action that is none of the SDK's")

// settle does what an answer says.
func (r *run) settle(s *step, a answer, took time.Duration) (Outcome, error) {
	switch r.phase {
	case policy.RequestBodyChunks, policy.ResponseBodyChunks:
		return r.settleChunk(s, a, took)
	}
	switch m := a.request.(type) {
	case nil:
	case *policy.RequestMutation:
		if m != nil {
			return r.mutateRequest(s, m, took)
		}
	case *policy.ImmediateResponse:
		// A nil one is an error too: it may be a refusal that was never made.
		return r.respond(s, m, took)
	default:
		return Outcome{}, errAction
	}
	switch m := a.response.(type) {
	case nil:
	case *policy.ResponseMutation:
		if m != nil {
			return r.mutateResponse(s, m, took)
		}
	case *policy.ImmediateResponse:
		return r.respond(s, m, took)
	default:
		return Outcome{}, errAction
	}
	s.metrics.Observe(r.phase, telemetry.Passed, took)
	r.note(s, telemetry.Passed, took, "", "")
	return Outcome{}, nil
}

func (r *run) mutateRequest(s *step, m *policy.RequestMutation, took time.Duration) (Outcome, error) {
	if r.shadows(s) {
		if err := apply.CheckRequest(r.phase, m); err != nil {
			return Outcome{}, err
		}
		s.metrics.Disagreements.Add(1)
	} else if err := s.checked.Request(&r.x, r.phase, m); err != nil {
		return Outcome{}, err
	}
	s.metrics.Observe(r.phase, telemetry.Mutated, took)
	if r.decision != nil {
		r.note(s, telemetry.Mutated, took, summariseRequest(m), "")
	}
	return Outcome{}, nil
}

func (r *run) mutateResponse(s *step, m *policy.ResponseMutation, took time.Duration) (Outcome, error) {
	if r.shadows(s) {
		if err := apply.CheckResponse(r.phase, m); err != nil {
			return Outcome{}, err
		}
		s.metrics.Disagreements.Add(1)
	} else if err := s.checked.Response(&r.x, r.phase, m); err != nil {
		return Outcome{}, err
	}
	s.metrics.Observe(r.phase, telemetry.Mutated, took)
	if r.decision != nil {
		r.note(s, telemetry.Mutated, took, summariseResponse(m), "")
	}
	return Outcome{}, nil
}

// respond ends the chain with the policy's own answer.
func (r *run) respond(s *step, ir *policy.ImmediateResponse, took time.Duration) (Outcome, error) {
	if err := apply.Immediate(ir); err != nil {
		return Outcome{}, err
	}
	reason := ir.Reason
	if reason == "" {
		reason = "REJECTED"
	}
	s.metrics.Observe(r.phase, telemetry.Responded, took)
	r.note(s, telemetry.Responded, took, "", reason)
	r.noteCause(s, ir.Cause)
	if r.shadows(s) {
		s.metrics.Disagreements.Add(1)
		return Outcome{}, nil
	}
	if r.rejection != nil {
		return r.reshaped(ir), nil
	}
	r.blame = blame{step: s, phase: r.phase, said: ir.Cause}
	return Outcome{Kind: Respond, Response: ir, Details: s.instance.version.detailsPrefix + reason}, nil
}
