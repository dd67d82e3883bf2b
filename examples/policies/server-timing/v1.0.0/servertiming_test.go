package servertiming_test

import (
	"testing"
	"time"

	servertiming "policyengine.dev/examples/policies/server-timing/v1.0.0"
	"policyengine.dev/sdk/policytest"
)

func TestTheTimeBetweenRequestAndResponse(t *testing.T) {
	p := policytest.New(t, servertiming.Policy, `metric: backend`)
	x := p.Send(t, policytest.Request{})
	p.Host.Clock.Advance(1500 * time.Millisecond)
	x.Respond(t, policytest.Response{Headers: policytest.Headers("server-timing", "db;dur=7")})
	got := x.ResponseChanges()
	if len(got) != 1 || got[0] != "add server-timing: backend;dur=1500" {
		t.Errorf("the changes are %q", got)
	}
}

func TestAResponseWithoutItsRequest(t *testing.T) {
	x := policytest.New(t, servertiming.Policy, `{}`).Respond(t, policytest.Response{})
	if got := x.ResponseChanges(); len(got) != 0 {
		t.Errorf("the changes are %q", got)
	}
}
