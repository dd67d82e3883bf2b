// Package askfirst calls a server to decide whether a request may pass.
package askfirst

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"policyengine.dev/sdk/policy"
)

// Policy is ask-first v1.0.0.
var Policy = policy.Define(New)

// ReasonDenied is the reason for a request that the server denies.
const ReasonDenied = "ASKED_AND_DENIED"

// Params are the policy's parameters, as policy.yaml describes them.
type Params struct {
	Backend policy.BackendRef `json:"backend"`
}

// AskFirst calls the server for each request.
type AskFirst struct {
	backend *policy.Backend
	denied  *policy.ImmediateResponse
}

// New opens the backend, which does no I/O. Instances with the same backend share it.
func New(p Params, host policy.Host) (*AskFirst, error) {
	backend, err := policy.OpenBackend(host, p.Backend)
	if err != nil {
		return nil, err
	}
	return &AskFirst{backend: backend, denied: policy.Reject(403, ReasonDenied, "")}, nil
}

// question is the body of the call, and verdict that of the response.
type (
	question struct {
		Method  string `json:"method"`
		Path    string `json:"path"`
		Subject string `json:"subject,omitempty"`
	}
	verdict struct {
		Rule string `json:"rule"`
	}
)

// OnRequestHeaders calls the server. A failed call, or a status other than 200 and 403, is an
// error: the operator's onError decides what happens to the request.
func (a *AskFirst) OnRequestHeaders(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	q := question{Method: req.Method(), Path: req.Path()}
	if p := req.Principal(); p != nil {
		q.Subject = p.Subject
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("writing the question: %w", err)
	}
	resp, err := a.backend.Do(ctx, req, policy.BackendRequest{
		Path: "/check", Header: http.Header{"Content-Type": {"application/json"}}, Body: body,
	})
	if err != nil {
		return nil, err
	}
	var v verdict
	if err := json.Unmarshal(resp.Body, &v); err != nil {
		req.Logger().Warn("the server's answer is no JSON", slog.Int("status", resp.Status))
	}
	req.Annotate(slog.String("rule", v.Rule), slog.Int("status", resp.Status))
	switch resp.Status {
	case http.StatusOK:
		return nil, nil
	case http.StatusForbidden:
		return a.denied, nil
	}
	return nil, fmt.Errorf("the server answered with status %d", resp.Status)
}
