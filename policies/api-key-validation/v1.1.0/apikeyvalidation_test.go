package apikeyvalidation_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	apikey "policyengine.dev/policies/api-key-validation/v1.1.0"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCases(t *testing.T) { policytest.Cases(t, apikey.Policy, "testdata/cases.yaml") }

func hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// bearing is a request with the key in x-api-key.
func bearing(key string) policytest.Request {
	return policytest.Request{Headers: policytest.Headers("x-api-key", key)}
}

// TestParametersOfV100 proves that every parameter of v1.0.0 means the same.
func TestParametersOfV100(t *testing.T) {
	p := policytest.New(t, apikey.Policy, fmt.Sprintf("header: x-api-key\nquery: api_key\nidHeader: x-owner\nforwardKey: true\nkeys: [{id: a, sha256: %q}]", hash("good")))
	x := p.Send(t, policytest.Request{Target: "/?api_key=good", Headers: policytest.Headers("x-owner", "forged")})
	x.WantPassed(t)
	if got := x.Request.Header("x-owner"); got != "a" || x.Request.Target() != "/?api_key=good" {
		t.Errorf("the upstream sees %s and the owner %q", x.Request.Target(), got)
	}
}

// TestRefusedByNew proves that New does not rely on the schema alone, tells everything at
// once, and quotes no hash.
func TestRefusedByNew(t *testing.T) {
	_, err := apikey.New(apikey.Params{
		Header: "connection", Scheme: "a b", Query: "a b", Cookie: "a=b", IDHeader: "host",
		Peppers: []policy.Secret{{}}, Scopes: apikey.ScopeParams{All: []string{"a b"}, Any: []string{""}},
		Keys: []apikey.Key{
			{ID: " a", SHA256: "abc"}, {ID: "a", SHA256: strings.Repeat("g", 64)}, {ID: "a", SHA256: hash("")},
			{ID: "a", SHA256: hash("1"), HMACSHA256: hash("2")}, {ID: "a"},
			{ID: "a", SHA256: hash("3"), Scopes: []string{`"`}, Labels: map[string]string{"": "x"}},
		},
	}, policytest.NewHost().Policy())
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`header: "connection" belongs`, "scheme: ", "query: ", "cookie: ", `idHeader: "host"`, "peppers[0]: it is empty", "scopes.all[0]: ", "scopes.any[0]: ",
		"keys[0].id: ", "keys[0].sha256: it has 3 characters", "keys[1].sha256: it has other characters", "keys[2].sha256: it is the hash of the empty string",
		"keys[3].sha256, .hmacSha256: ", "keys[4].sha256, .hmacSha256: ", "keys[5].scopes[0]: ", "keys[5].labels: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error", want)
		}
	}
	for _, h := range []string{hash("1"), hash("2"), hash("3"), hash("")} {
		if strings.Contains(err.Error(), h) {
			t.Error("the error tells a hash")
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

// TestTheOperatorIsToldWhoseKeyItWas proves that a refusal of a known key names its owner
// to the operator, not to the client, and that one of an unknown key names nobody.
func TestTheOperatorIsToldWhoseKeyItWas(t *testing.T) {
	p := policytest.New(t, apikey.Policy, fmt.Sprintf(`{header: x-api-key, keys: [{id: billing, sha256: %q, expires: "1999-01-01T00:00:00Z"}]}`, hash("good")))
	ir := p.Send(t, bearing("good")).Immediate
	if ir == nil || ir.Cause != "the key is that of billing" || strings.Contains(fmt.Sprint(ir.Headers, string(ir.Body)), "billing") {
		t.Errorf("the answer is %+v", ir)
	}
	if ir := p.Send(t, bearing("bad")).Immediate; ir.Cause != "" {
		t.Errorf("the cause is %q", ir.Cause)
	}
	if logs := p.Host.Logs.String(); logs != "" {
		t.Errorf("it logged %q", logs)
	}
}

// TestARequestCostsFewAllocations proves that a refusal allocates nothing, and a request
// that passes its change of the request alone.
func TestARequestCostsFewAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations are not counted under the race detector")
	}
	for _, tt := range []struct {
		name, key string
		most      float64
	}{{"plain", "good", 1}, {"peppered", "peppered", 1}, {"unknown", strings.Repeat("x", 64), 0}, {"none", "", 0}} {
		t.Run(tt.name, func(t *testing.T) {
			if show := direct(benchmarkPolicy(t, 10), tt.key); testing.AllocsPerRun(100, show) > tt.most {
				t.Errorf("%v allocations, want at most %v", testing.AllocsPerRun(100, show), tt.most)
			}
		})
	}
}

// request is a request with the key in x-api-key, as the engine shows it to a policy.
func request(key string) policy.RequestContext {
	x := &exchange.Exchange{}
	x.Request.Method, x.Request.Path = "GET", "/v1/payments?page=2"
	x.Request.Headers.Reset([]exchange.Field{{Name: "accept", Value: "*/*"}, {Name: "x-api-key", Value: key}, {Name: "x-request-id", Value: "1"}})
	return policy.NewRequestContext(x, false)
}

// direct shows a request with the key to the policy.
func direct(p *policytest.Policy, key string) func() {
	req := request(key)
	v, ctx := p.Instance.(*apikey.Validator), context.Background()
	return func() { _, _ = v.OnRequestHeaders(ctx, &req) }
}
