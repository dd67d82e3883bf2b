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
	action, err := x.call(ctx, phase)
	if err != nil {
		return fmt.Errorf("%s: the policy gave an error: %w", phase, err)
	}
	x.Steps = append(x.Steps, Step{phase, action})
	if err := x.apply(phase, action); err != nil {
		return fmt.Errorf("%s: the action cannot be applied: %w", phase, err)
	}
	return nil
}

func (x *Exchange) call(ctx context.Context, phase policy.Phase) (any, error) {
	req, resp := x.views()
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

var (
	errHoldLast    = errors.New("the policy holds the last chunk, after which nothing comes")
	errHoldUnasked = errors.New("the policy holds a chunk and does not say so by policy.ChunkHolder")
)

func (x *Exchange) chunks(ctx context.Context, phase policy.Phase, pieces []string, b *body, out *[]string) error {
	var held []byte
	var state any
	b.whole = ""
	for i, piece := range pieces {
		data := append(held, piece...)
		chunk := &policy.Chunk{Data: data, Last: i == len(pieces)-1, State: state}
		action, err := x.callChunk(ctx, phase, chunk)
		if err != nil {
			return fmt.Errorf("%s: chunk %d: the policy gave an error: %w", phase, i, err)
		}
		x.Steps = append(x.Steps, Step{phase, action})
		state, held = chunk.State, nil
		if ir, ok := action.(*policy.ImmediateResponse); ok {
			if err := x.apply(phase, ir); err != nil || x.Immediate != nil {
				return err
			}
			action = nil // in shadow mode the chunk goes on
		}
		replacement, replaced := policy.ChunkReplacement(action)
		holds := policy.IsHold(action)
		switch {
		case holds:
			if err := x.checkHold(data, i == len(pieces)-1); err != nil {
				return fmt.Errorf("%s: chunk %d: %w", phase, i, err)
			}
		case !replaced && action != nil:
			return fmt.Errorf("%s: chunk %d: the action cannot be applied: it is a %T", phase, i, action)
		}
		next := data
		switch {
		case x.policy.config.shadow:
		case holds:
			// A copy with no room, so that a policy's Data is never written to.
			held, next = data[:len(data):len(data)], nil
		case replaced:
			next = replacement
		}
		*out = append(*out, string(next))
		b.whole += string(next)
	}
	return nil
}

func (x *Exchange) checkHold(data []byte, last bool) error {
	holder, ok := x.policy.Instance.(policy.ChunkHolder)
	switch {
	case !ok || !holder.HoldsChunks():
		return errHoldUnasked
	case last:
		return errHoldLast
	case len(data) > x.policy.config.holdLimit:
		return fmt.Errorf("the policy holds %d bytes, and %d are allowed", len(data), x.policy.config.holdLimit)
	}
	return nil
}

func (x *Exchange) callChunk(ctx context.Context, phase policy.Phase, chunk *policy.Chunk) (policy.ChunkAction, error) {
	req, resp := x.views()
	if phase == policy.RequestBodyChunks {
		return x.policy.Instance.(policy.RequestBodyChunksPolicy).OnRequestBodyChunk(ctx, req, chunk)
	}
	return x.policy.Instance.(policy.ResponseBodyChunksPolicy).OnResponseBodyChunk(ctx, resp, chunk)
}

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
