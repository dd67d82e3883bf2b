package askfirst_test

import (
	"context"
	"errors"
	"testing"
	"time"

	askfirst "policyengine.dev/examples/policies/ask-first/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestTheServerDecides(t *testing.T) {
	p := policytest.New(t, askfirst.Policy, `backend: authz`)
	p.Host.Backends.On("authz", func(c policytest.BackendCall) policytest.BackendAnswer {
		if c.Body == `{"method":"GET","path":"/private","subject":"alice"}` {
			return policytest.BackendAnswer{Status: 403, Body: `{"rule":"private"}`}
		}
		return policytest.BackendAnswer{Body: `{"rule":"public"}`, Delay: 20 * time.Millisecond}
	})
	p.Send(t, policytest.Request{Target: "/public"}).WantPassed(t)
	x := p.Send(t, policytest.Request{Target: "/private?token=secret", Principal: &policy.Principal{Subject: "alice"}})
	x.WantRejected(t, 403, askfirst.ReasonDenied)
	if rule, _ := x.Annotation("rule"); rule != "private" {
		t.Errorf("the record has the rule %v", rule)
	}
}

func TestAServerThatFails(t *testing.T) {
	p := policytest.New(t, askfirst.Policy, `backend: authz`)
	answer := policytest.BackendAnswer{Delay: time.Minute}
	p.Host.Backends.On("authz", func(policytest.BackendCall) policytest.BackendAnswer { return answer })
	if err := p.SendError(t, policytest.Request{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that takes too long: %v", err)
	}
	answer = policytest.BackendAnswer{Status: 500}
	for range policy.DefaultBackendFailures {
		p.SendError(t, policytest.Request{})
	}
	asked := len(p.Host.Backends.Calls("authz"))
	if err := p.SendError(t, policytest.Request{}); !errors.Is(err, policy.ErrBackendOpen) || len(p.Host.Backends.Calls("authz")) != asked {
		t.Errorf("a server that has failed too often is asked again: %v", err)
	}
	p.Host.Clock.Advance(policy.DefaultBackendPause)
	answer = policytest.BackendAnswer{Body: `{}`}
	p.Send(t, policytest.Request{}).WantPassed(t)
}
