// Package requestid gives every request an ID that the upstream and the client see.
package requestid

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"policyengine.dev/sdk/policy"
)

// Policy is request-id v1.0.0.
var Policy = policy.Define(New)

// maxLength is the longest ID that is accepted, in bytes.
const maxLength = 128

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Header         policy.HeaderName `json:"header"`
	Accept         string            `json:"accept"`
	Format         string            `json:"format"`
	ResponseHeader string            `json:"responseHeader"`
}

// RequestID accepts or makes IDs.
type RequestID struct {
	header, responseHeader string
	accept                 bool
	sorted                 bool
	clock                  policy.Clock
	random                 io.Reader
}

// New reports headers that a policy may not set.
func New(p Params, host policy.Host) (*RequestID, error) {
	var problems []error
	check := func(parameter, name string) {
		if err := policy.CheckHeaderEdit(name); err != nil {
			problems = append(problems, fmt.Errorf("%s: %q %w", parameter, name, err))
		}
	}
	check("header", string(p.Header))
	if p.ResponseHeader != "" {
		check("responseHeader", p.ResponseHeader)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &RequestID{
		header: string(p.Header), responseHeader: p.ResponseHeader,
		accept: p.Accept == "valid", sorted: p.Format == "uuid7",
		clock: host.Clock, random: host.Random,
	}, nil
}

// ActivePhases implements policy.PhaseChooser: the response is shown only where it gets
// the ID.
func (r *RequestID) ActivePhases() policy.PhaseSet {
	if r.responseHeader == "" {
		return policy.Phases(policy.RequestHeaders)
	}
	return policy.Phases(policy.RequestHeaders, policy.ResponseHeaders)
}

// OnRequestHeaders leaves the request with exactly one ID.
func (r *RequestID) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	if r.accept {
		if id, ok := req.Headers().Lookup(r.header); ok && req.Headers().Count(r.header) == 1 && valid(id) {
			return nil, nil
		}
	}
	id, err := r.newID()
	if err != nil {
		return nil, err
	}
	return &policy.RequestMutation{Headers: policy.HeaderMutation{Set: []policy.Header{{Name: r.header, Value: id}}}}, nil
}

// OnResponseHeaders tells the client the ID that the upstream saw.
func (r *RequestID) OnResponseHeaders(_ context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	req := resp.Request()
	id, ok := req.Headers().Lookup(r.header)
	if !ok || !valid(id) {
		return nil, nil // a later policy has changed it
	}
	return &policy.ResponseMutation{Headers: policy.HeaderMutation{Set: []policy.Header{{Name: r.responseHeader, Value: id}}}}, nil
}

func valid(id string) bool {
	if id == "" || len(id) > maxLength {
		return false
	}
	for i := 0; i < len(id); i++ {
		if !idChar[id[i]] {
			return false
		}
	}
	return true
}

var idChar = func() (t [256]bool) {
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "0123456789._~:+/=-" {
		t[c] = true
	}
	return t
}()

// newID makes a UUID (RFC 9562): version 4 is random, version 7 begins with the time
// in milliseconds.
func (r *RequestID) newID() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(r.random, b[:]); err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	version := byte(0x40)
	if r.sorted {
		version = 0x70
		ms := uint64(r.clock.Now().UnixMilli())
		for i := range 6 {
			b[i] = byte(ms >> (8 * (5 - i)))
		}
	}
	b[6] = b[6]&0x0f | version
	b[8] = b[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:8], b[:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:], b[10:])
	for _, i := range [...]int{8, 13, 18, 23} {
		text[i] = '-'
	}
	return string(text[:]), nil
}
