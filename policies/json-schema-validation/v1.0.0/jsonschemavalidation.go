// Package jsonschemavalidation lets requests and responses pass only if their JSON
// bodies fit a schema.
package jsonschemavalidation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"

	"policyengine.dev/sdk/policy"
)

// Policy is json-schema-validation v1.0.0.
var Policy = policy.Define(New)

// The policy's reasons.
const (
	// ReasonInvalid is given for a request body that does not fit the schema.
	ReasonInvalid = "BODY_INVALID"
	// ReasonNotJSON is given for a request body that is not one JSON value.
	ReasonNotJSON = "BODY_NOT_JSON"
	// ReasonMissing is given for a request without the body that its method needs.
	ReasonMissing = "BODY_MISSING"
	// ReasonType is given for a request body of another media type.
	ReasonType = "CONTENT_TYPE_NOT_SUPPORTED"
	// ReasonTooLong is given for a request body over maxBytes.
	ReasonTooLong = "BODY_TOO_LONG"
	// ReasonResponse is given for a response whose body may not pass.
	ReasonResponse = "RESPONSE_BODY_INVALID"
)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Request  *Request  `json:"request"`
	Response *Response `json:"response"`
}

// Body is what both directions have.
type Body struct {
	Schema       json.RawMessage `json:"schema"`
	ContentTypes []string        `json:"contentTypes"`
	OtherTypes   string          `json:"otherTypes"`
	MaxBytes     int             `json:"maxBytes"`
}

// Request is what request bodies have to be.
type Request struct {
	Body
	BodyMethods []string `json:"bodyMethods"`
	Errors      string   `json:"errors"`
}

// Response is what response bodies have to be.
type Response struct {
	Body
	Statuses []string `json:"statuses"`
}

// Validation checks bodies against compiled schemas.
type Validation struct {
	request, response *Body
	methods           []string
	statuses          [600]bool
	places            bool
	requestSchema     *schema
	responseSchema    *schema

	invalid, notJSON, missing, otherType, tooLong, badResponse *policy.ImmediateResponse
}

// New compiles the schemas, and reports every problem with its path.
func New(p Params, _ policy.Host) (*Validation, error) {
	if p.Request == nil && p.Response == nil {
		return nil, errors.New("nothing to do: give request or response")
	}
	v := &Validation{}
	var problems []error
	compile := func(where string, b *Body) *schema {
		s, err := compileSchema(b.Schema)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s.schema%w", where, err))
		}
		return s
	}
	if p.Request != nil {
		v.request, v.methods, v.places = &p.Request.Body, p.Request.BodyMethods, p.Request.Errors != "none"
		v.requestSchema = compile("request", v.request)
	}
	if p.Response != nil {
		v.response = &p.Response.Body
		v.responseSchema = compile("response", v.response)
		for _, s := range p.Response.Statuses {
			v.addStatus(s)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	v.prepare()
	return v, nil
}

// addStatus marks "204", or the hundred of "2xx".
func (v *Validation) addStatus(s string) {
	from, to := s, s
	if hundred, ok := strings.CutSuffix(s, "xx"); ok {
		from, to = hundred+"00", hundred+"99"
	}
	first, _ := strconv.Atoi(from)
	last, _ := strconv.Atoi(to)
	for i := first; i <= last && i < len(v.statuses); i++ {
		v.statuses[i] = true
	}
}

func (v *Validation) prepare() {
	v.invalid = policy.Reject(400, ReasonInvalid, "The body does not match the schema.")
	v.notJSON = policy.Reject(400, ReasonNotJSON, "The body is not a single JSON value, or parsers could read it in different ways.")
	v.missing = policy.Reject(400, ReasonMissing, "The request has no body.")
	v.badResponse = policy.Reject(502, ReasonResponse, "The response does not match its schema.")
	if v.request != nil {
		v.otherType = policy.Reject(415, ReasonType, "The body has none of the media types "+strings.Join(v.request.ContentTypes, ", ")+".",
			policy.Header{Name: "accept-post", Value: acceptable(v.request.ContentTypes)})
		v.tooLong = policy.Reject(413, ReasonTooLong, fmt.Sprintf("The body is longer than %d bytes.", v.request.MaxBytes))
	}
}

// acceptable are the types that are no patterns.
func acceptable(types []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(types), func(t string) bool { return strings.Contains(t, "*") }), ", ")
}

// ActivePhases implements policy.PhaseChooser: a direction without a schema is not
// shown.
func (v *Validation) ActivePhases() policy.PhaseSet {
	var phases policy.PhaseSet
	if v.request != nil {
		phases = phases.With(policy.RequestBody)
	}
	if v.response != nil {
		phases = phases.With(policy.ResponseBody)
	}
	return phases
}

// OnRequestBody checks the request's body.
func (v *Validation) OnRequestBody(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	body := req.Body()
	if v.request == nil || len(body) == 0 && !slices.Contains(v.methods, req.Method()) {
		return nil, nil
	}
	switch {
	case len(body) == 0:
		return v.missing, nil
	case !v.request.reads(req.Headers()):
		if v.request.OtherTypes == "pass" {
			return nil, nil
		}
		return v.otherType, nil
	case len(body) > v.request.MaxBytes:
		return v.tooLong, nil
	}
	broken, err := v.requestSchema.validate(body)
	switch {
	case errors.Is(err, errNotJSON):
		return v.notJSON, nil
	case err != nil:
		return nil, err
	case broken == nil:
		return nil, nil
	case !v.places:
		return v.invalid, nil
	}
	answer := *v.invalid
	answer.Body = withPlaces(broken)
	return &answer, nil
}

// OnResponseBody checks the response's body.
func (v *Validation) OnResponseBody(_ context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	status, body := resp.Status(), resp.Body()
	if v.response == nil || status < 0 || status >= len(v.statuses) || !v.statuses[status] {
		return nil, nil
	}
	if req := resp.Request(); req.Method() == "HEAD" || status == 204 || status == 205 || status == 304 {
		return nil, nil // there is no body, whatever the headers say
	}
	if len(body) > 0 && !v.response.reads(resp.Headers()) {
		if v.response.OtherTypes == "pass" {
			return nil, nil
		}
		return v.badResponse, nil
	}
	if len(body) > v.response.MaxBytes {
		return v.badResponse, nil
	}
	switch broken, err := v.responseSchema.validate(body); {
	case errors.Is(err, errNotJSON) || broken != nil:
		return v.badResponse, nil
	case err != nil:
		return nil, err
	}
	return nil, nil
}

// reads reports whether the message's one Content-Type is one that is read as JSON.
func (b *Body) reads(h policy.Headers) bool {
	value, ok := h.Lookup("content-type")
	if !ok || h.Count("content-type") != 1 {
		return false
	}
	if slices.Contains(b.ContentTypes, value) {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(value)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(b.ContentTypes, func(t string) bool {
		before, suffix, pattern := strings.Cut(t, "*")
		return t == mediaType || pattern && len(mediaType) > len(before)+len(suffix) &&
			strings.HasPrefix(mediaType, before) && strings.HasSuffix(mediaType, suffix)
	})
}
