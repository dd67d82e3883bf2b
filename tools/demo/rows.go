package main

import (
	"fmt"
	"strings"
	"time"
)

// row is one request of the table, with the expected outcome.
type row struct {
	// shows says what the row demonstrates.
	shows        string
	method, path string
	// header is sent with value, unless it is empty.
	header, value string
	// headers are additional headers to send.
	headers map[string]string
	// body is sent as JSON, unless it is empty.
	body string
	// before is how many times the request is sent before the one in the table.
	before int
	status int
	// decided is the expected value of Envoy's response code details.
	decided string
	// saw are the request headers that the upstream must have received; "" means
	// that the header must be absent. nil means that the upstream must not be reached.
	saw map[string]string
	// got are the response headers that the client must have received.
	got map[string]string
	// contains is a text that the response body must contain.
	contains string
	// killed sends the request after the engine was killed.
	killed bool
}

// secret is the value that must not come back to the client.
func (r row) secret() string { return r.value }

const (
	passed   = "via_upstream"
	apiKey   = "policy_engine.api-key-validation@v1.0.0."
	jwtOne   = "policy_engine.jwt-validation@v1.0.0."
	jwtTwo   = "policy_engine.jwt-validation@v2.0.0."
	noEngine = "ext_proc_error"
)

func (s *scene) rows() ([]row, error) {
	var failed error
	bearer := func(token string, err error) string {
		if err != nil {
			failed = err
		}
		return "Bearer " + token
	}
	now, old := s.now, s.now.Add(-24*time.Hour)
	all := []row{
		{
			shows: "headers set on the request and the response", path: "/status",
			status: 200, decided: passed, saw: map[string]string{"x-tenant": "payments"}, got: map[string]string{"x-served-by": "policy-engine"},
		},
		{shows: "no API key", path: "/charge", status: 401, decided: apiKey + "API_KEY_MISSING"},
		{shows: "a wrong API key", path: "/charge", header: "x-api-key", value: "guess-work", status: 401, decided: apiKey + "API_KEY_INVALID"},
		{
			shows: "a good API key, which the upstream does not see", path: "/charge", header: "x-api-key", value: goodKey,
			status: 200, decided: passed, saw: map[string]string{"x-api-key-id": "billing", "x-api-key": "", "x-write": ""},
		},
		{
			shows: "a step with a condition (CEL): POST only", method: "POST", path: "/charge", header: "x-api-key", value: goodKey,
			status: 200, decided: passed, saw: map[string]string{"x-write": "yes"},
		},
		{
			shows: "a key in Authorization; the upstream sees its owner's label", path: "/services", header: "authorization", value: "ApiKey " + goodKey,
			status: 200, decided: passed, saw: map[string]string{"x-team": "money", "authorization": ""},
		},
		{
			shows: "another key of the same owner that lacks the scope", path: "/services", header: "authorization", value: "ApiKey " + readKey,
			status: 403, decided: "policy_engine.api-key-validation@v1.1.0.API_KEY_SCOPE_INSUFFICIENT",
		},
		{shows: "no token", path: "/accounts", status: 401, decided: jwtOne + "JWT_MISSING"},
		{
			shows: "a good token", path: "/accounts", header: "authorization", value: bearer(token(s.people, people, "alice", "", now)),
			status: 200, decided: passed, saw: map[string]string{"x-user": "alice", "authorization": ""},
		},
		{
			shows: "a token that is a day old", path: "/accounts", header: "authorization", value: bearer(token(s.people, people, "alice", "", old)),
			status: 401, decided: jwtOne + "JWT_EXPIRED",
		},
		{
			shows: "a token with algorithm none", path: "/accounts", header: "authorization", value: bearer(unsigned("alice", now)),
			status: 401, decided: jwtOne + "JWT_ALGORITHM_NOT_ALLOWED",
		},
		{
			shows: "version 2 beside version 1: another issuer", path: "/partners", header: "authorization", value: bearer(token(s.shops, shops, "shop-7", "refund", now)),
			status: 200, decided: passed, saw: map[string]string{"x-shop": "shop-7"},
		},
		{
			shows: "a token without the scope that its issuer needs", path: "/partners", header: "authorization", value: bearer(token(s.shops, shops, "shop-7", "read", now)),
			status: 403, decided: jwtTwo + "JWT_SCOPE_INSUFFICIENT",
		},
		{
			shows: "a token signed with an unknown key", path: "/partners", header: "authorization", value: bearer(token(s.stranger, shops, "shop-7", "refund", now)),
			status: 401, decided: jwtTwo + "JWT_SIGNATURE_INVALID",
		},
		{
			shows: "no API key, but the policy is in shadow mode", path: "/trial",
			status: 200, decided: passed, saw: map[string]string{},
		},
		{
			shows: "security headers, a request ID, a header from a template", path: "/shop", headers: map[string]string{"x-request-id": "demo-1"},
			status: 200, decided: passed, saw: map[string]string{"x-call": "GET /shop", "x-request-id": "demo-1"},
			got: map[string]string{"content-security-policy": "default-src 'none'; frame-ancestors 'none'", "x-request-id": "demo-1"},
		},
		{
			shows: "CORS preflight from an origin that is not allowed", method: "OPTIONS", path: "/shop",
			headers: map[string]string{"origin": "https://evil.test", "access-control-request-method": "PUT"},
			status:  403, decided: "policy_engine.cors@v1.0.0.CORS_ORIGIN_DENIED",
		},
		{
			shows: "CORS preflight from an allowed origin", method: "OPTIONS", path: "/shop",
			headers: map[string]string{"origin": "https://shop.example.com", "access-control-request-method": "PUT"},
			status:  204, decided: "policy_engine.cors@v1.0.0.CORS_PREFLIGHT", got: map[string]string{"access-control-allow-methods": "PUT"},
		},
		{
			shows: "a card number in the response is masked", path: "/shop", header: "x-card", value: "4111 1111 1111 1111",
			status: 200, decided: passed, saw: map[string]string{"x-card": "4111 1111 1111 1111"}, contains: "**** **** **** 1111",
		},
		{
			shows: "JSON that matches its schema", method: "POST", path: "/transfers", body: `{"amount": 100, "currency": "EUR"}`,
			status: 200, decided: passed, saw: map[string]string{},
		},
		{
			shows: "JSON that does not match its schema", method: "POST", path: "/transfers", body: `{"amount": -1, "currency": "EUR"}`,
			status: 400, decided: "policy_engine.json-schema-validation@v1.0.0.BODY_INVALID", contains: `"at":"/amount"`,
		},
		{
			shows: "a body over its limit", method: "POST", path: "/uploads", body: strings.Repeat(" ", 1025),
			status: 413, decided: "policy_engine.body-limit@v1.0.0.REQUEST_BODY_TOO_LARGE",
		},
		{
			shows: "one request more than the limit allows", path: "/limited", headers: map[string]string{"x-client": "7"}, before: 3,
			status: 429, decided: "policy_engine.rate-limit@v1.0.0.RATE_LIMITED", got: map[string]string{"ratelimit-policy": `"client";q=3;w=3600`},
		},
		{
			shows: "an address that is denied", path: "/inside", headers: map[string]string{"x-forwarded-for": "203.0.113.9"},
			status: 403, decided: "policy_engine.ip-allow-deny@v1.0.0.ADDRESS_DENIED",
		},
		{
			shows: "no client certificate", path: "/inside", headers: map[string]string{"x-forwarded-for": "192.0.2.9"},
			status: 403, decided: "policy_engine.mtls-identity@v1.0.0.MTLS_CERTIFICATE_MISSING",
		},
		{shows: "a route without a chain", path: "/forgotten", status: 500, decided: "policy_engine.ROUTE_UNKNOWN"},
		{shows: "the engine is killed: Envoy denies the request", path: "/status", status: 500, decided: noEngine, killed: true},
	}
	for i := range all {
		if all[i].method == "" {
			all[i].method = "GET"
		}
	}
	if failed != nil {
		return nil, fmt.Errorf("making the requests: %w", failed)
	}
	return all, nil
}
