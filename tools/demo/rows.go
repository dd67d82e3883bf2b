package main

import (
	"fmt"
	"time"
)

// row is one request of the table, and what is expected of it.
type row struct {
	// shows is what the row is there for.
	shows        string
	method, path string
	// header and value are sent, where there is a header.
	header, value string
	status        int
	// decided is what Envoy's response code details have to be.
	decided string
	// saw are headers that the upstream has to have seen, with "" for none.
	// nil says that it must not have been reached.
	saw map[string]string
	// got are headers that the client has to have got.
	got map[string]string
	// killed runs it while the engine is dead.
	killed bool
}

// secret is what must not come back to the client.
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
			shows: "headers set on the way in and out", path: "/status",
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
			shows: "a token that asks not to be verified", path: "/accounts", header: "authorization", value: bearer(unsigned("alice", now)),
			status: 401, decided: jwtOne + "JWT_ALGORITHM_NOT_ALLOWED",
		},
		{
			shows: "version 2 beside version 1: another issuer", path: "/partners", header: "authorization", value: bearer(token(s.shops, shops, "shop-7", "refund", now)),
			status: 200, decided: passed, saw: map[string]string{"x-shop": "shop-7"},
		},
		{
			shows: "a token that lacks that issuer's scope", path: "/partners", header: "authorization", value: bearer(token(s.shops, shops, "shop-7", "read", now)),
			status: 403, decided: jwtTwo + "JWT_SCOPE_INSUFFICIENT",
		},
		{
			shows: "a token that a stranger has signed", path: "/partners", header: "authorization", value: bearer(token(s.stranger, shops, "shop-7", "refund", now)),
			status: 401, decided: jwtTwo + "JWT_SIGNATURE_INVALID",
		},
		{
			shows: "no API key, but the policy is on trial (shadow)", path: "/trial",
			status: 200, decided: passed, saw: map[string]string{},
		},
		{shows: "a route that nobody gave a chain", path: "/forgotten", status: 500, decided: "policy_engine.ROUTE_UNKNOWN"},
		{shows: "the engine killed: no answer, no bypass", path: "/status", status: 500, decided: noEngine, killed: true},
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
