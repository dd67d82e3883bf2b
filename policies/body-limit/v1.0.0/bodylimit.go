// Package bodylimit refuses request bodies and response bodies that are longer than a
// limit, without holding them.
package bodylimit

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"policyengine.dev/sdk/policy"
)

// Policy is body-limit v1.0.0.
var Policy = policy.Define(New)

// The policy's reasons.
const (
	// ReasonRequest is given for a request body over the limit.
	ReasonRequest = "REQUEST_BODY_TOO_LARGE"
	// ReasonLength is given for a request body without Content-Length where that is refused.
	ReasonLength = "LENGTH_REQUIRED"
	// ReasonResponse is given for a response body over the limit.
	ReasonResponse = "RESPONSE_BODY_TOO_LARGE"
)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Request  *Limit `json:"request"`
	Response *Limit `json:"response"`
}

// Limit is the limit for one direction.
type Limit struct {
	MaxBytes      uint64 `json:"maxBytes"`
	WithoutLength string `json:"withoutLength"`
}

// BodyLimit keeps the limits, and the answers to bodies over them.
type BodyLimit struct {
	request, response           *Limit
	tooLarge, noLength, badGate *policy.ImmediateResponse
}

// New prepares the answers.
func New(p Params, _ policy.Host) (*BodyLimit, error) {
	if p.Request == nil && p.Response == nil {
		return nil, errors.New("nothing to do: give request or response")
	}
	b := &BodyLimit{request: p.Request, response: p.Response}
	if p.Request != nil {
		b.tooLarge = policy.Reject(413, ReasonRequest, fmt.Sprintf("The body is longer than %d bytes.", p.Request.MaxBytes))
		b.noLength = policy.Reject(411, ReasonLength, "A body needs a Content-Length.")
	}
	b.badGate = policy.Reject(502, ReasonResponse, "The response is too large.")
	return b, nil
}

// ActivePhases implements policy.PhaseChooser: bodies are shown only where they are
// counted.
func (b *BodyLimit) ActivePhases() policy.PhaseSet {
	var phases policy.PhaseSet
	add := func(l *Limit, headers, chunks policy.Phase) {
		if l == nil {
			return
		}
		phases = phases.With(headers)
		if l.WithoutLength != "ignore" {
			phases = phases.With(chunks)
		}
	}
	add(b.request, policy.RequestHeaders, policy.RequestBodyChunks)
	add(b.response, policy.ResponseHeaders, policy.ResponseBodyChunks)
	return phases
}

// ReadsChunks implements policy.ChunkReader: chunks are counted and never changed.
func (b *BodyLimit) ReadsChunks() bool { return true }

// OnRequestHeaders compares the length that the request announces.
func (b *BodyLimit) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	if b.request != nil && b.request.announcedOver(req.Headers()) {
		return b.tooLarge, nil
	}
	return nil, nil
}

// OnResponseHeaders compares the length that the response announces. A response to
// HEAD, and one with status 304, announces the length of a body that it does not have.
func (b *BodyLimit) OnResponseHeaders(_ context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	if b.response == nil || resp.Status() == 304 {
		return nil, nil
	}
	if req := resp.Request(); req.Method() == "HEAD" {
		return nil, nil
	}
	if b.response.announcedOver(resp.Headers()) {
		return b.badGate, nil
	}
	return nil, nil
}

// announcedOver reports whether a Content-Length is over the limit. One that is no
// number counts as over it.
func (l *Limit) announcedOver(h policy.Headers) bool {
	for v := range h.Values("content-length") {
		if n, err := strconv.ParseUint(v, 10, 64); err != nil || n > l.MaxBytes {
			return true
		}
	}
	return false
}

// OnRequestBodyChunk counts the body's bytes.
func (b *BodyLimit) OnRequestBodyChunk(_ context.Context, req *policy.RequestContext, chunk *policy.Chunk) (policy.ChunkAction, error) {
	if b.request == nil {
		return nil, nil
	}
	if b.request.WithoutLength == "refuse" && len(chunk.Data) > 0 && !req.Headers().Has("content-length") {
		return b.noLength, nil
	}
	if b.request.countedOver(chunk) {
		return b.tooLarge, nil
	}
	return nil, nil
}

// OnResponseBodyChunk counts the body's bytes.
func (b *BodyLimit) OnResponseBodyChunk(_ context.Context, _ *policy.ResponseContext, chunk *policy.Chunk) (policy.ChunkAction, error) {
	if b.response != nil && b.response.countedOver(chunk) {
		return b.badGate, nil
	}
	return nil, nil
}

// countedOver adds the chunk to what came before it and reports whether that is over
// the limit.
func (l *Limit) countedOver(chunk *policy.Chunk) bool {
	count, _ := chunk.State.(*uint64)
	if count == nil {
		count = new(uint64)
		chunk.State = count
	}
	*count += uint64(len(chunk.Data))
	return *count > l.MaxBytes
}
