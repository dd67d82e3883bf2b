package cors

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"policyengine.dev/sdk/policy"
)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	AllowOrigins     []string            `json:"allowOrigins"`
	AllowMethods     []string            `json:"allowMethods"`
	AllowHeaders     []policy.HeaderName `json:"allowHeaders"`
	ExposeHeaders    []policy.HeaderName `json:"exposeHeaders"`
	AllowCredentials bool                `json:"allowCredentials"`
	MaxAge           policy.Duration     `json:"maxAge"`
	Disallowed       string              `json:"disallowed"`
}

const allowOrigin = "access-control-allow-origin"

// upstreams are the headers that only this policy may send.
var upstreams = []string{
	allowOrigin, "access-control-allow-credentials", "access-control-expose-headers",
	"access-control-allow-methods", "access-control-allow-headers", "access-control-max-age",
	"access-control-allow-private-network",
}

// maxMaxAge is a day: no browser keeps an answer longer.
const maxMaxAge = 24 * time.Hour

// New reports every problem with its path. It prepares what does not depend on the
// request.
func New(p Params, _ policy.Host) (*CORS, error) {
	c := &CORS{
		origins: origins{exact: map[string]bool{}}, methods: map[string]bool{}, headers: map[string]bool{},
		exact: map[string]*policy.ResponseMutation{}, credentials: p.AllowCredentials, refuse: p.Disallowed == "refuse",
	}
	var problems []error
	problem := func(path string, err error) { problems = append(problems, fmt.Errorf("%s: %w", path, err)) }
	starWithCredentials := errors.New(`"*" has no meaning together with allowCredentials: browsers would take it literally`)
	for i, s := range p.AllowOrigins {
		path := fmt.Sprintf("allowOrigins[%d]", i)
		switch err := c.origins.parseOrigin(s); {
		case err != nil:
			problem(path, fmt.Errorf("%q %w", s, err))
		case s == "*" && p.AllowCredentials:
			problem(path, errors.New(`"*" together with allowCredentials would let every site act for the user: name the origins`))
		case s == "null" && p.AllowCredentials:
			problem(path, errors.New(`"null" together with allowCredentials would let any sandboxed page act for the user`))
		case s == "*" && len(p.AllowOrigins) > 1:
			problem(path, errors.New(`"*" allows every origin: leave the others out`))
		}
	}
	for i, m := range p.AllowMethods {
		path := fmt.Sprintf("allowMethods[%d]", i)
		upper := strings.ToUpper(m)
		switch {
		case m == "*":
			c.anyMethod = true
			if p.AllowCredentials {
				problem(path, starWithCredentials)
			}
		case upper == "CONNECT" || upper == "TRACE" || upper == "TRACK":
			problem(path, fmt.Errorf("%q cannot be sent by pages: browsers forbid it", m))
		case m != upper && (upper == "DELETE" || upper == "GET" || upper == "HEAD" || upper == "OPTIONS" || upper == "PATCH" || upper == "POST" || upper == "PUT"):
			problem(path, fmt.Errorf("%q is not a method: write %q", m, upper))
		}
		c.methods[m] = true
	}
	for i, h := range p.AllowHeaders {
		if h == "*" {
			c.anyHeader = true
			if p.AllowCredentials {
				problem(fmt.Sprintf("allowHeaders[%d]", i), starWithCredentials)
			}
			continue
		}
		c.headers[string(h)] = true
	}
	for i, h := range p.ExposeHeaders {
		if h == "*" && p.AllowCredentials {
			problem(fmt.Sprintf("exposeHeaders[%d]", i), starWithCredentials)
		}
	}
	if d := p.MaxAge.Std(); d < 0 || d > maxMaxAge || d%time.Second != 0 {
		problem("maxAge", fmt.Errorf("%s is not a whole number of seconds between 0s and 24h", p.MaxAge))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	c.prepare(p)
	return c, nil
}

func (c *CORS) prepare(p Params) {
	if p.AllowCredentials {
		credentials := policy.Header{Name: "access-control-allow-credentials", Value: "true"}
		c.allowed = append(c.allowed, credentials)
		c.preflight = append(c.preflight, credentials)
	}
	if len(p.ExposeHeaders) > 0 {
		c.allowed = append(c.allowed, policy.Header{Name: "access-control-expose-headers", Value: join(p.ExposeHeaders)})
	}
	if len(p.AllowMethods) > 0 {
		c.preflight = append(c.preflight, policy.Header{Name: "access-control-allow-methods", Value: strings.Join(p.AllowMethods, ", ")})
	}
	if len(p.AllowHeaders) > 0 {
		c.preflight = append(c.preflight, policy.Header{Name: "access-control-allow-headers", Value: join(p.AllowHeaders)})
	}
	c.preflight = append(c.preflight,
		policy.Header{Name: "access-control-max-age", Value: strconv.FormatInt(int64(p.MaxAge.Std()/time.Second), 10)},
		policy.Header{Name: "vary", Value: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"},
	)
	vary := policy.Header{Name: "vary", Value: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
	c.originDenied = policy.Reject(403, ReasonOrigin, "The request's origin is not allowed.", policy.Header{Name: "vary", Value: "Origin"})
	c.preflightOriginDenied = policy.Reject(403, ReasonOrigin, "The request's origin is not allowed.", vary)
	c.methodDenied = policy.Reject(403, ReasonMethod, "The method in Access-Control-Request-Method is not allowed.", vary)
	c.headersDenied = policy.Reject(403, ReasonHeaders, "A header in Access-Control-Request-Headers is not allowed.", vary)
	if c.origins.all {
		c.anyOrigin = c.response("*")
		return
	}
	for origin := range c.origins.exact {
		c.exact[origin] = c.response(origin)
	}
	c.denied = &policy.ResponseMutation{Headers: policy.HeaderMutation{Remove: upstreams, Append: []policy.Header{{Name: "vary", Value: "Origin"}}}}
}

// response is the change to a response that a page of origin may read.
func (c *CORS) response(origin string) *policy.ResponseMutation {
	set := make([]policy.Header, 0, 1+len(c.allowed))
	set = append(set, policy.Header{Name: allowOrigin, Value: origin})
	m := policy.HeaderMutation{Remove: upstreams, Set: append(set, c.allowed...)}
	if !c.origins.all {
		m.Append = []policy.Header{{Name: "vary", Value: "Origin"}}
	}
	return &policy.ResponseMutation{Headers: m}
}

func join(names []policy.HeaderName) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = string(n)
	}
	return strings.Join(all, ", ")
}
