// Package policytest runs a policy in a unit test, without a proxy and without a runtime:
//
//	p := policytest.New(t, apikey.Policy, `{header: x-api-key, keys: [{id: me, sha256: ...}]}`)
//	x := p.Send(t, policytest.Request{Headers: policytest.Headers("x-api-key", "secret")})
//	x.WantPassed(t)
//
// New reads the policy.yaml in the directory of the test, checks the parameters against it,
// fills in its defaults, and builds the policy like a runtime, with a [Host] whose clock,
// secrets, HTTP and metrics belong to the test. Send runs a request through the policy's
// request phases, [Exchange.Respond] a response through the response phases. The actions of
// the policy are applied with the runtime's own code. The [Exchange] then has the request
// as the upstream would see it, the response as the client would see it, and what the
// policy logged, counted and annotated.
//
// An error of the policy fails the test, unless the test expects one (SendError,
// RespondError).
package policytest
