// Package policytest runs a policy in a unit test, without a proxy and without a
// runtime:
//
//	p := policytest.New(t, apikey.Policy, `{header: x-api-key, keys: [{id: me, sha256: ...}]}`)
//	x := p.Send(t, policytest.Request{Headers: policytest.Headers("x-api-key", "secret")})
//	x.WantPassed(t)
//
// New finds the policy.yaml in the directory of the test, checks the parameters
// against it, fills in its defaults, and builds the policy as a runtime does, with a
// [Host] whose clock, secrets, HTTP and metrics belong to the test. Send takes a
// request through the policy's request phases, and [Exchange.Respond] a response
// through the others; what a policy answers is applied by the code that a runtime
// uses. The [Exchange] then shows the request as the upstream would see it, the
// response as the client would, and what the policy has told.
//
// An error of the policy fails the test, unless the test expects one (SendError,
// RespondError).
package policytest
