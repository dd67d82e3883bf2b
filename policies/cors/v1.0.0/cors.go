// Package cors lets pages of chosen origins call an API from browsers, by the CORS
// protocol of the WHATWG Fetch standard (https://fetch.spec.whatwg.org/#http-cors-protocol),
// and answers preflight requests.
package cors

import (
	"context"
	"strings"

	"policyengine.dev/sdk/policy"
)

// Policy is cors v1.0.0.
var Policy = policy.Define(New)

// The policy's reasons.
const (
	// ReasonOrigin is given for an origin that is not allowed.
	ReasonOrigin = "CORS_ORIGIN_DENIED"
	// ReasonMethod is given for a preflight request for a method that is not allowed.
	ReasonMethod = "CORS_METHOD_DENIED"
	// ReasonHeaders is given for a preflight request for a header that is not allowed.
	ReasonHeaders = "CORS_HEADERS_DENIED"
	// ReasonPreflight is given with the answer to a preflight request that is allowed.
	ReasonPreflight = "CORS_PREFLIGHT"
)

// CORS decides by the request's Origin.
type CORS struct {
	origins origins
	methods map[string]bool
	// headers are in lower case.
	headers     map[string]bool
	credentials bool
	refuse      bool

	anyMethod, anyHeader bool

	// anyOrigin is the change for every response where all origins are allowed;
	// nil where it depends on the origin.
	anyOrigin *policy.ResponseMutation
	// exact has the change for a response to a page of an origin that is named.
	exact map[string]*policy.ResponseMutation
	// denied is the change for a response to any other page.
	denied *policy.ResponseMutation
	// allowed are the fields that an allowed response has in addition to the origin.
	allowed []policy.Header
	// preflight are the fields of the answer to a preflight request in addition to the origin.
	preflight []policy.Header

	originDenied, preflightOriginDenied, methodDenied, headersDenied *policy.ImmediateResponse
}

// OnRequestHeaders answers preflight requests, and, where the policy is told to,
// requests of other origins.
func (c *CORS) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	headers := req.Headers()
	origin, hasOrigin := headers.Lookup("origin")
	if !hasOrigin {
		return nil, nil
	}
	allowed := headers.Count("origin") == 1 && c.origins.allow(origin)
	if req.Method() == "OPTIONS" && headers.Has("access-control-request-method") {
		return c.answerPreflight(headers, origin, allowed), nil
	}
	if !allowed && c.refuse {
		return c.originDenied, nil
	}
	return nil, nil
}

func (c *CORS) answerPreflight(headers policy.Headers, origin string, allowed bool) *policy.ImmediateResponse {
	if !allowed {
		return c.preflightOriginDenied
	}
	if headers.Count("access-control-request-method") != 1 || !c.allowsMethod(headers.Get("access-control-request-method")) {
		return c.methodDenied
	}
	for value := range headers.Values("access-control-request-headers") {
		if !c.allowsHeaders(value) {
			return c.headersDenied
		}
	}
	fields := make([]policy.Header, 0, 1+len(c.preflight))
	fields = append(fields, policy.Header{Name: allowOrigin, Value: c.originValue(origin)})
	return &policy.ImmediateResponse{Status: 204, Headers: append(fields, c.preflight...), Reason: ReasonPreflight}
}

func (c *CORS) allowsMethod(m string) bool {
	// Browsers never look these three up (the standard's CORS-safelisted methods).
	return m == "GET" || m == "HEAD" || m == "POST" || c.methods[m] || c.anyMethod && policy.ValidHeaderName(m)
}

// allowsHeaders decides about a list of names, as browsers send it.
func (c *CORS) allowsHeaders(list string) bool {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.Trim(name, " \t")
		switch {
		case name == "":
			continue
		case !policy.ValidHeaderName(name):
			return false
		}
		name = strings.ToLower(name)
		if !c.headers[name] && (!c.anyHeader || name == "authorization") {
			return false
		}
	}
	return true
}

// originValue is what Access-Control-Allow-Origin says to an allowed origin.
func (c *CORS) originValue(origin string) string {
	if c.origins.all {
		return "*"
	}
	return origin
}

// OnResponseHeaders takes out what the upstream says about CORS, and tells the browser
// whether the page may read the response.
func (c *CORS) OnResponseHeaders(_ context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	if c.anyOrigin != nil {
		return c.anyOrigin, nil
	}
	req := resp.Request()
	headers := req.Headers()
	origin, ok := headers.Lookup("origin")
	if !ok || headers.Count("origin") != 1 {
		return c.denied, nil
	}
	if m := c.exact[origin]; m != nil {
		return m, nil
	}
	if !c.origins.allow(origin) {
		return c.denied, nil
	}
	return c.response(origin), nil
}
