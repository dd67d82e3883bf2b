package policytest

import (
	"context"
	"errors"
	"fmt"

	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
)

// step runs one phase other than that of chunks, where the policy is active in it
// and has not answered the client yet.
func (x *Exchange) step(ctx context.Context, phase policy.Phase) error {
	if x.Immediate != nil || !x.policy.phases.Has(phase) {
		return nil
	}
	given := x.givenBody(phase)
	before := string(given)
	call := x.newCall(phase)
	action, err := x.call(ctx, phase, call)
	noted := call.Take()
	x.state = call.State
	if err := checkNoted(noted); err != nil {
		return fmt.Errorf("%s: %w: %w", phase, errAction, err)
	}
	if string(given) != before {
		return fmt.Errorf("%s: %w: %w", phase, errAction, errModified)
	}
	if err != nil {
		return fmt.Errorf("%s: the policy gave an error: %w", phase, err)
	}
	x.Steps = append(x.Steps, newStep(phase, action, noted))
	if err := x.apply(phase, action); err != nil {
		return fmt.Errorf("%s: %w: %w", phase, errAction, err)
	}
	return nil
}

// newCall is what one call of the policy has beside the exchange.
func (x *Exchange) newCall(phase policy.Phase) *exchange.Call {
	return &exchange.Call{Place: x.policy.place, Phase: phase.String(), Records: true, State: x.state}
}

// newStep is a call that is over. noted may be nil.
func newStep(phase policy.Phase, action any, noted *exchange.Noted) Step {
	s := Step{Phase: phase, Action: action}
	if noted != nil {
		s.Annotations, s.Spans = noted.Annotations, noted.Spans
	}
	return s
}

// checkNoted finds what a runtime would leave out of its record.
func checkNoted(noted *exchange.Noted) error {
	if noted == nil {
		return nil
	}
	if noted.Dropped > 0 {
		return fmt.Errorf("%d annotations, spans or attributes of spans are too many, or have keys that are not valid: see RequestContext.Annotate", noted.Dropped)
	}
	return nil
}

func (x *Exchange) call(ctx context.Context, phase policy.Phase, call *exchange.Call) (any, error) {
	req, resp := x.views(call)
	switch phase {
	case policy.RequestHeaders:
		return x.policy.Instance.(policy.RequestHeadersPolicy).OnRequestHeaders(ctx, req)
	case policy.RequestBody:
		return x.policy.Instance.(policy.RequestBodyPolicy).OnRequestBody(ctx, req)
	case policy.RequestTrailers:
		return x.policy.Instance.(policy.RequestTrailersPolicy).OnRequestTrailers(ctx, req)
	case policy.ResponseHeaders:
		return x.policy.Instance.(policy.ResponseHeadersPolicy).OnResponseHeaders(ctx, resp)
	case policy.ResponseBody:
		return x.policy.Instance.(policy.ResponseBodyPolicy).OnResponseBody(ctx, resp)
	case policy.ResponseTrailers:
		return x.policy.Instance.(policy.ResponseTrailersPolicy).OnResponseTrailers(ctx, resp)
	default:
		return nil, fmt.Errorf("the phase %s is not called like this", phase)
	}
}

// apply does what action says, or in shadow mode only checks that it could be done.
func (x *Exchange) apply(phase policy.Phase, action any) error {
	data := x.data
	if x.policy.config.shadow {
		data = data.Clone()
	}
	switch a := action.(type) {
	case nil:
	case *policy.RequestMutation:
		return apply.Request(data, phase, a)
	case *policy.ResponseMutation:
		return apply.Response(data, phase, a)
	case *policy.SkipRest:
		if err := apply.CheckSkip(phase, a); err != nil {
			return err
		}
		if s, ok := x.policy.Instance.(policy.Skipper); !ok || !s.SkipsSteps() {
			return errSkipUnsaid
		}
		if err := apply.Request(data, phase, a.Mutation); err != nil {
			return err
		}
		if !x.policy.config.shadow {
			x.Skipped = a
		}
	case *policy.ImmediateResponse:
		if err := apply.Immediate(a); err != nil {
			return err
		}
		if !x.policy.config.shadow {
			x.Immediate = a
		}
	default:
		return fmt.Errorf("it is a %T", a)
	}
	return nil
}

// givenBody is the body that the policy is shown.
func (x *Exchange) givenBody(phase policy.Phase) []byte {
	if phase.IsResponse() {
		return x.data.Response.Body.Bytes
	}
	return x.data.Request.Body.Bytes
}

var (
	// errAction is in every error that is about what the policy did, rather
	// than one that it gave.
	errAction       = errors.New("the action cannot be applied")
	errModified     = errors.New("the policy has modified the body that it was shown, and not replaced it by an action")
	errHoldLast     = errors.New("the policy holds back the last chunk, and no chunk follows it")
	errSkipUnsaid   = errors.New("the policy skips the rest of the chain without implementing policy.Skipper")
	errHoldUnasked  = errors.New("the policy holds back a chunk without implementing policy.ChunkHolder")
	errReadReplaces = errors.New("the policy replaces a chunk, and says by policy.ChunkReader that it only reads them")
	errReadHolds    = errors.New("the policy holds a chunk, and says by policy.ChunkReader that it only reads them")
)

// changes lists what a runtime tells the proxy of a header list.
func changes(h *exchange.Headers) []string {
	var c changeList
	h.VisitChanges(&c)
	return c
}

type changeList []string

func (c *changeList) RemoveHeader(name string) { *c = append(*c, "remove "+name) }

func (c *changeList) SetHeader(name, value string, add bool) {
	verb := "set "
	if add {
		verb = "add "
	}
	*c = append(*c, verb+name+": "+value)
}
