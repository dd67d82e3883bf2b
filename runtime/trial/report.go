package trial

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"policyengine.dev/runtime/inmemory"
	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/sdk/exchange"
)

// Report is what became of a request and why. Its JSON is the output of `pectl try --json`.
type Report struct {
	Route string `json:"route"`
	// Chain is empty if the route has none.
	Chain string `json:"chain,omitempty"`
	// Steps are the calls of policies in their order.
	Steps []Step `json:"steps"`
	// Outcome is "passed", "answered" (by a policy) or "refused" (by the engine).
	Outcome string `json:"outcome"`
	// Reason, Details, Cause and DecidedBy are set unless the request passed. Cause is for
	// the operator; the client does not get it.
	Reason    string `json:"reason,omitempty"`
	Details   string `json:"details,omitempty"`
	Cause     string `json:"cause,omitempty"`
	DecidedBy string `json:"decidedBy,omitempty"`
	// Request is what the upstream would get; absent if it would get nothing.
	Request *Message `json:"request,omitempty"`
	// Response is what the client would get; absent if the file has no response.
	Response *Message `json:"response,omitempty"`
	// DynamicMetadata is what policies set for Envoy, by key.
	DynamicMetadata map[string]any `json:"dynamicMetadata,omitempty"`
	// Reroute says that Envoy would choose the route again.
	Reroute bool `json:"reroute,omitempty"`
}

// Outcomes of a trial.
const (
	Passed   = "passed"
	Answered = "answered"
	Refused  = "refused"
)

// Step is one call of a policy.
type Step struct {
	ID     string `json:"id"`
	Policy string `json:"policy"`
	Phase  string `json:"phase"`
	// Shadow says that the answer did not count.
	Shadow    bool   `json:"shadow,omitempty"`
	Condition string `json:"condition,omitempty"`
	// Outcome is "pass", "mutate", "respond", "skip" or how the call failed.
	Outcome string `json:"outcome"`
	// Changes names what the step changed, such as "set x-tier, remove authorization".
	Changes string `json:"changes,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Cause   string `json:"cause,omitempty"`
	// Annotations are what the policy noted, by key.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Micros is how long the step took, in microseconds.
	Micros float64 `json:"micros"`
}

// Message is a request or a response.
type Message struct {
	Method    string   `json:"method,omitempty"`
	Scheme    string   `json:"scheme,omitempty"`
	Authority string   `json:"authority,omitempty"`
	Path      string   `json:"path,omitempty"`
	Status    int      `json:"status,omitempty"`
	Headers   []Header `json:"headers"`
	// Body is set if it is text, and BodyBase64 otherwise.
	Body       string   `json:"body,omitempty"`
	BodyBase64 []byte   `json:"bodyBase64,omitempty"`
	Trailers   []Header `json:"trailers,omitempty"`
}

// Header is one header field. Hidden says that the value is not shown since it may be
// secret.
type Header struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`
	Hidden bool   `json:"hidden,omitempty"`
}

func report(f *File, d *telemetry.Decision, result *inmemory.Result, secrets bool) *Report {
	r := &Report{Route: f.Route, Steps: []Step{}, Outcome: Passed, DynamicMetadata: result.Metadata, Reroute: result.Reroute}
	if d != nil {
		r.describe(d)
	}
	if answer := result.Answer; answer != nil {
		r.Outcome, r.Reason, r.Details = Refused, answer.Response.Reason, answer.Details
		if byPolicy(d) {
			r.Outcome = Answered
		}
	}
	if q := result.Request; q != nil {
		r.Request = &Message{Method: q.Method, Scheme: q.Scheme, Authority: q.Authority, Path: q.Path}
		r.Request.fill(q.Headers, q.Body, q.Trailers, secrets)
	}
	if s := result.Response; s != nil {
		r.Response = &Message{Status: s.Status}
		r.Response.fill(s.Headers, s.Body, s.Trailers, secrets)
	}
	return r
}

// byPolicy reports whether a policy decided to answer, rather than failed to decide.
func byPolicy(d *telemetry.Decision) bool {
	return d != nil && slices.ContainsFunc(d.Steps, func(s telemetry.StepDecision) bool {
		return s.Outcome == telemetry.Responded && !s.Shadow && s.ID == d.By.ID
	})
}

func (r *Report) describe(d *telemetry.Decision) {
	r.Chain, r.Cause = d.Chain, d.Cause
	if d.By.ID != "" {
		r.DecidedBy = fmt.Sprintf("%s (%s), %s", d.By.ID, d.By.Policy, d.By.Phase)
	}
	for _, s := range d.Steps {
		step := Step{
			ID: s.ID, Policy: s.Policy + "@" + s.Version, Phase: s.Phase.String(), Shadow: s.Shadow, Condition: s.Condition,
			Outcome: s.Outcome.String(), Changes: s.Changes, Reason: s.Reason, Cause: s.Cause,
			Micros: float64(s.Took) / float64(time.Microsecond),
		}
		for _, a := range s.Annotations {
			if step.Annotations == nil {
				step.Annotations = map[string]string{}
			}
			step.Annotations[a.Key] = a.Value.String()
		}
		r.Steps = append(r.Steps, step)
	}
}

func (m *Message) fill(headers []exchange.Field, body [][]byte, trailers []exchange.Field, secrets bool) {
	m.Headers, m.Trailers = shown(headers, secrets), shown(trailers, secrets)
	if m.Headers == nil {
		m.Headers = []Header{}
	}
	whole := slices.Concat(body...)
	if utf8.Valid(whole) {
		m.Body = string(whole)
	} else {
		m.BodyBase64 = whole
	}
}

func shown(fields []exchange.Field, secrets bool) (all []Header) {
	for _, f := range fields {
		h := Header{Name: f.Name, Value: f.Value}
		if !secrets && secret(f.Name) {
			h.Value, h.Hidden = "", true
		}
		all = append(all, h)
	}
	return all
}

// secret reports whether the values of a header may be secret, by its name.
func secret(name string) bool {
	return slices.ContainsFunc([]string{"auth", "cookie", "token", "secret", "key", "password", "signature"},
		func(part string) bool { return strings.Contains(name, part) })
}
