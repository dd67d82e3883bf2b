// Package auditlog writes a line of JSON for each request and response to a file or to
// standard output, without ever holding a request up.
package auditlog

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"policyengine.dev/sdk/policy"
)

// Policy is audit-log v1.0.0.
var Policy = policy.Define(New)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Output          Output              `json:"output"`
	Events          []string            `json:"events"`
	RequestHeaders  []policy.HeaderName `json:"requestHeaders"`
	ResponseHeaders []policy.HeaderName `json:"responseHeaders"`
	Claims          []string            `json:"claims"`
	Query           string              `json:"query"`
	Redact          []string            `json:"redact"`
	Queue           int                 `json:"queue"`
}

// Output says where lines go: exactly one field is set.
type Output struct {
	File   string `json:"file"`
	Stdout bool   `json:"stdout"`
}

// AuditLog hands entries to a writer that runs on its own.
type AuditLog struct {
	params              Params
	onRequest, response bool
	clock               policy.Clock
	writer              *writer
	starting            sync.Once
}

// began is the metadata's key of the time at which the request came, in microseconds
// since 1970: a number that JSON can carry.
const began = "audit-log/began"

// credentials are headers that never go into a log.
var credentials = []string{"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-auth-token", "x-amz-security-token"}

// New reports every problem with its path. It opens nothing.
func New(p Params, host policy.Host) (*AuditLog, error) {
	var problems []error
	check := func(parameter string, names []policy.HeaderName) {
		for i, name := range names {
			if slices.Contains(credentials, string(name)) {
				problems = append(problems, fmt.Errorf("%s[%d]: %q carries credentials, which do not belong into a log", parameter, i, name))
			}
		}
	}
	check("requestHeaders", p.RequestHeaders)
	check("responseHeaders", p.ResponseHeaders)
	redact, err := compileRedaction(p.Redact)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	return &AuditLog{
		params: p, onRequest: slices.Contains(p.Events, "request"), response: slices.Contains(p.Events, "response"),
		clock: host.Clock, writer: newWriter(p.Output.File, p.Queue, redact, host),
	}, nil
}

// compileRedaction joins the expressions into one, nil where there are none.
func compileRedaction(patterns []string) (*regexp.Regexp, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	var problems []error
	for i, p := range patterns {
		re, err := regexp.Compile(p)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("redact[%d]: %w", i, err))
		case re.MatchString(""):
			problems = append(problems, fmt.Errorf("redact[%d]: %q matches the empty text, and so every place", i, p))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return regexp.Compile("(?:" + strings.Join(patterns, ")|(?:") + ")")
}

// Start opens the output and begins to write. It errs while the output cannot be
// opened, and so do the policy's requests.
func (a *AuditLog) Start(context.Context) error {
	if err := a.writer.open(); err != nil {
		return err
	}
	a.starting.Do(a.writer.start)
	return nil
}

// Close writes what waits, for a bounded time.
func (a *AuditLog) Close() error {
	a.starting.Do(func() {}) // no start after the end
	return a.writer.close()
}

// ActivePhases implements policy.PhaseChooser: the response is shown only where it is
// written.
func (a *AuditLog) ActivePhases() policy.PhaseSet {
	if a.response {
		return policy.Phases(policy.RequestHeaders, policy.ResponseHeaders)
	}
	return policy.Phases(policy.RequestHeaders)
}

// OnRequestHeaders writes the request, and notes when it came.
func (a *AuditLog) OnRequestHeaders(_ context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	now := a.clock.Now()
	if a.onRequest {
		a.writer.add(a.entry("request", now, req))
	}
	if !a.response {
		return nil, nil
	}
	return &policy.RequestMutation{Metadata: []policy.Entry{{Key: began, Value: float64(now.UnixMicro())}}}, nil
}

// OnResponseHeaders writes the response.
func (a *AuditLog) OnResponseHeaders(_ context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	now, req := a.clock.Now(), resp.Request()
	e := a.entry("response", now, &req)
	e.Status = resp.Status()
	e.ResponseHeaders = fields(resp.Headers(), a.params.ResponseHeaders)
	v, _ := resp.Metadata(began)
	if start, ok := v.(float64); ok {
		ms := float64(now.UnixMicro()-int64(start)) / 1000
		e.DurationMS = &ms
	}
	a.writer.add(e)
	return nil, nil
}

// entry has the texts of the request, which stay as they are forever. All that costs
// more is left to the writer.
func (a *AuditLog) entry(event string, now time.Time, req *policy.RequestContext) *entry {
	e := &entry{
		Time: now, Event: event, Shadow: req.Shadow(), RequestID: req.Header("x-request-id"), Route: req.Route(),
		Method: req.Method(), Authority: req.Authority(), Path: req.Path(), query: req.RawQuery(),
		RequestHeaders: fields(req.Headers(), a.params.RequestHeaders),
	}
	if p := req.Principal(); p != nil {
		e.Subject, e.Issuer = p.Subject, p.Issuer
		for _, name := range a.params.Claims {
			if v, ok := p.Claims[name]; ok {
				if e.Claims == nil {
					e.Claims = make(map[string]any, len(a.params.Claims))
				}
				e.Claims[name] = v
			}
		}
	}
	e.queryShown = a.params.Query
	return e
}

// fields are the values of the headers called names.
func fields(h policy.Headers, names []policy.HeaderName) map[string][]string {
	var all map[string][]string
	for _, name := range names {
		for v := range h.Values(string(name)) {
			if all == nil {
				all = make(map[string][]string, len(names))
			}
			all[string(name)] = append(all[string(name)], v)
		}
	}
	return all
}
