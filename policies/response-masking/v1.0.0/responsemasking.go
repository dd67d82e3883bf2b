// Package responsemasking masks card numbers, IBANs and chosen JSON values in responses.
package responsemasking

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"slices"
	"strings"

	"policyengine.dev/sdk/policy"
)

// Policy is response-masking v1.0.0.
var Policy = policy.Define(New)

// ReasonResponse is given for a response that cannot be masked.
const ReasonResponse = "RESPONSE_NOT_MASKABLE"

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Cards        bool     `json:"cards"`
	IBANs        bool     `json:"ibans"`
	Pointers     []string `json:"pointers"`
	KeepLast     int      `json:"keepLast"`
	Mode         string   `json:"mode"`
	ContentTypes []string `json:"contentTypes"`
	OtherTypes   string   `json:"otherTypes"`
}

// Masking masks responses.
type Masking struct {
	params   Params
	stream   bool
	pointers []pointer
	refused  *policy.ImmediateResponse
}

// New reports every problem with its path.
func New(p Params, _ policy.Host) (*Masking, error) {
	m := &Masking{params: p, stream: p.Mode == "stream", refused: policy.Reject(502, ReasonResponse, "The response cannot be shown.")}
	var problems []error
	if !p.Cards && !p.IBANs && len(p.Pointers) == 0 {
		problems = append(problems, errors.New("nothing to mask: switch cards or ibans on, or give pointers"))
	}
	if m.stream && len(p.Pointers) > 0 {
		problems = append(problems, errors.New("pointers: values can be found in whole bodies only: set mode to whole"))
	}
	for _, s := range p.Pointers {
		m.pointers = append(m.pointers, compilePointer(s))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return m, nil
}

// ActivePhases implements policy.PhaseChooser: the body is shown whole or in pieces.
func (m *Masking) ActivePhases() policy.PhaseSet {
	phases := policy.Phases(policy.RequestHeaders, policy.ResponseHeaders)
	if m.stream {
		return phases.With(policy.ResponseBodyChunks)
	}
	return phases.With(policy.ResponseBody)
}

var (
	// wholeOnly has the upstream send the whole: a part may begin amid a number.
	wholeOnly = &policy.RequestMutation{Headers: policy.HeaderMutation{Remove: []string{"range", "if-range"}}}
	// asChanged takes out what describes the body as the upstream sent it.
	asChanged = &policy.ResponseMutation{Headers: policy.HeaderMutation{Remove: []string{
		"accept-ranges", "etag", "content-md5", "digest", "content-digest", "repr-digest",
	}}}
)

// OnRequestHeaders has the upstream send the whole.
func (m *Masking) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return wholeOnly, nil
}

// OnResponseHeaders takes out what will not be true of a masked body, and refuses what
// cannot be masked.
func (m *Masking) OnResponseHeaders(_ context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	switch masks, _ := m.masks(resp.Headers()); {
	case !masks && m.params.OtherTypes == "refuse" && hasBody(resp):
		return m.refused, nil
	case !masks:
		return nil, nil
	case resp.Status() == 206:
		return m.refused, nil
	}
	return asChanged, nil
}

// hasBody reports whether the response can have a body.
func hasBody(resp *policy.ResponseContext) bool {
	req := resp.Request()
	s := resp.Status()
	return req.Method() != "HEAD" && s != 204 && s != 205 && s != 304 && resp.Header("content-length") != "0"
}

// OnResponseBody masks a whole body.
func (m *Masking) OnResponseBody(_ context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	masks, isJSON := m.masks(resp.Headers())
	body := resp.Body()
	if !masks || len(body) == 0 {
		return nil, nil
	}
	changed := body
	if isJSON && len(m.pointers) > 0 {
		var err error
		if changed, err = replace(body, m.pointers); err != nil {
			return m.refused, nil
		}
	}
	s := m.scanner(isJSON)
	changed = s.feed(changed, true)
	if bytes.Equal(changed, body) {
		return nil, nil
	}
	return &policy.ResponseMutation{Body: policy.NewBody(changed)}, nil
}

// OnResponseBodyChunk masks a body as it passes. The end of a piece that may be the
// beginning of a number waits in the chunk's State.
func (m *Masking) OnResponseBodyChunk(_ context.Context, resp *policy.ResponseContext, chunk *policy.Chunk) (policy.ChunkAction, error) {
	s, ok := chunk.State.(*scanner)
	if !ok {
		masks, isJSON := m.masks(resp.Headers())
		if !masks {
			return nil, nil
		}
		s = m.scanner(isJSON)
		chunk.State = s
	}
	held := len(s.held)
	out := s.feed(chunk.Data, chunk.Last)
	if held == 0 && bytes.Equal(out, chunk.Data) {
		return nil, nil
	}
	return policy.ReplaceChunk(out), nil
}

func (m *Masking) scanner(isJSON bool) *scanner {
	return &scanner{cards: m.params.Cards, ibans: m.params.IBANs, keep: m.params.KeepLast, json: isJSON}
}

// masks reports whether a body with these headers is masked, and whether it is JSON. A
// body with two types is masked if one of them says so.
func (m *Masking) masks(h policy.Headers) (masks, isJSON bool) {
	for value := range h.Values("content-type") {
		mediaType, _, err := mime.ParseMediaType(value)
		if err != nil && mediaType == "" {
			mediaType, _, _ = strings.Cut(strings.ToLower(value), ";")
			mediaType = strings.TrimSpace(mediaType)
		}
		if slices.ContainsFunc(m.params.ContentTypes, func(t string) bool { return fits(t, mediaType) }) {
			masks = true
			isJSON = isJSON || mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
		}
	}
	return masks, isJSON
}

// fits reports whether a media type is t, or one that t with its "*" stands for.
func fits(t, mediaType string) bool {
	before, after, pattern := strings.Cut(t, "*")
	if !pattern {
		return t == mediaType
	}
	return len(mediaType) > len(before)+len(after) && strings.HasPrefix(mediaType, before) && strings.HasSuffix(mediaType, after)
}
