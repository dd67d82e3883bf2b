package policytest_test

import (
	"errors"
	"strings"
	"testing"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// answering is a policy whose answer depends on the request, so that cases have
// something to look at.
func answering() *script {
	s := &script{phases: policy.Phases(policy.RequestHeaders, policy.RequestBody, policy.RequestTrailers, policy.ResponseHeaders, policy.ResponseBody)}
	s.request = func(p policy.Phase, c *policy.RequestContext) (policy.RequestAction, error) {
		switch {
		case c.Header("fail") != "":
			return nil, errors.New("it failed as told")
		case c.Header("deny") != "":
			code := 7
			ir := policy.Reject(403, "DENIED", "no", policytest.Headers("a", "1", "a", "2")...)
			ir.GRPCStatus = &code
			return ir, nil
		case p == policy.RequestBody:
			return &policy.RequestMutation{Body: policy.NewBody(append(c.Body(), '!'))}, nil
		case p == policy.RequestTrailers:
			return &policy.RequestMutation{Trailers: policy.HeaderMutation{Remove: []string{"t"}}}, nil
		}
		a, _ := c.Attribute("source.address")
		m, _ := c.Metadata("earlier")
		issuer := ""
		if c.Principal() != nil {
			issuer = c.Principal().Issuer
		}
		return &policy.RequestMutation{
			Method: "PUT", Authority: "upstream", Path: "/new",
			Headers:         policy.HeaderMutation{Set: policytest.Headers("seen", "yes"), Remove: []string{"secret"}},
			Principal:       &policy.Principal{Subject: "me", Issuer: issuer, Scopes: []string{"r"}, Claims: map[string]any{"n": 1}},
			Metadata:        []policy.Entry{{Key: "count", Value: 2}, {Key: "earlier", Value: m}, {Key: "source", Value: a}},
			DynamicMetadata: []policy.Entry{{Key: "d", Value: map[string]any{"x": true}}},
		}, nil
	}
	s.respond = func(p policy.Phase, _ *policy.ResponseContext) (policy.ResponseAction, error) {
		if p == policy.ResponseBody {
			return &policy.ResponseMutation{Body: policy.NewBody([]byte("shaped"))}, nil
		}
		return &policy.ResponseMutation{Status: 202, Headers: policy.HeaderMutation{Append: policytest.Headers("vary", "a")}}, nil
	}
	return s
}

var scriptedDefinition = policytest.WithDefinition("testdata/v1.0.0/policy.yaml")

func TestCases(t *testing.T) {
	policytest.Cases(t, answering().builder(), "testdata/cases.yaml", scriptedDefinition)
}

// TestCasesFail proves that each expectation of a case is compared.
func TestCasesFail(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"a message that is answered", "request: {headers: {deny: x}}, expect: {}", "the policy answered 403 DENIED, want the message to pass"},
		{"a policy that errs", "request: {headers: {fail: x}}, expect: {}", "it failed as told"},
		{"an error that does not come", "expect: {error: x}", "the policy's error is <nil>"},
		{"another error", "request: {headers: {fail: x}}, expect: {error: boom}", `want "boom" in it`},
		{"parameters that are not refused", "expect: {refused: x}", "the parameters are accepted"},
		{"parameters refused for another reason", "params: {limit: 0}, expect: {refused: no reason}", `want "no reason" in it`},
		{"an answer that does not come", "expect: {immediate: {status: 401}}", "the message passed, want an answer with status 401"},
		{"another status", "request: {headers: {deny: x}}, expect: {immediate: {status: 401}}", "the status of the answer is 403, want 401"},
		{"another reason", "request: {headers: {deny: x}}, expect: {immediate: {status: 403, reason: X}}", `the reason is "DENIED", want "X"`},
		{"another body", "request: {headers: {deny: x}}, expect: {immediate: {status: 403, body: X}}", "the body of the answer is"},
		{"another gRPC status", "request: {headers: {deny: x}}, expect: {immediate: {status: 403, grpcStatus: 1}}", "the gRPC status is 7, want 1"},
		{"the line of a message that is answered", "request: {headers: {deny: x}}, expect: {}", "cases.yaml:2:40: cases[0].expect: the policy answered"},
		{"the line of a case whose policy errs", "request: {headers: {fail: x}}, expect: {}", "cases.yaml:1:9: cases[0]: the policy errs: "},
		{"the line of parameters that are not refused", "expect: {refused: x}", "cases.yaml:2:19: cases[0].expect.refused: the parameters are accepted"},
		{"the line of an error that does not come", "expect: {error: x}", "cases.yaml:2:17: cases[0].expect.error: the policy's error is"},
		{"the line of parameters that are refused", "params: {limit: 0}, expect: {}", "cases.yaml:1:9: cases[0]: building the policy: cases.yaml:2:17: cases[0].params.limit: too small"},
		{"the line of another status", "request: {headers: {deny: x}}, expect: {immediate: {status: 401}}", "cases.yaml:2:61: cases[0].expect.immediate.status: the status of the answer"},
		{"the line of an answer that does not come", "expect: {immediate: {status: 401}}", "cases.yaml:2:21: cases[0].expect.immediate: the message passed"},
		{"the line of another method", "expect: {request: {method: GET}}", "cases.yaml:2:28: cases[0].expect.request.method: the method is"},
		{"the line of another body of a response", "response: {}, expect: {response: {body: x}}", "cases[0].expect.response.body: the response body is"},
		{"the line of another principal", "expect: {principal: null}", "cases.yaml:2:21: cases[0].expect.principal: the principal is"},
		{"another header of an answer", "request: {headers: {deny: x}}, expect: {immediate: {status: 403, headers: {a: 1x}}}", `cases.yaml:2:`},
		{"another method", "expect: {request: {method: GET}}", `the method is "PUT", want "GET"`},
		{"another authority", "expect: {request: {authority: x}}", `the authority is "upstream"`},
		{"another target", "expect: {request: {target: /}}", `the target is "/new", want "/"`},
		{"another request body", "expect: {request: {body: x}}", `the request body is "!", want "x"`},
		{"a header that is there", "expect: {request: {headers: {seen: null}}}", `cases[0].expect.request.headers.seen: the request header is ["yes"], want none`},
		{"a header that is not there", "expect: {request: {headers: {unseen: x}}}", `the request header is [], want ["x"]`},
		{"fewer values", "expect: {request: {headers: {seen: [yes, yes]}}}", `want ["yes" "yes"]`},
		{"a trailer", "request: {trailers: {u: x}}, expect: {request: {trailers: {u: y}}}", `the request trailer is ["x"], want ["y"]`},
		{"another status of the response", "response: {}, expect: {response: {status: 200}}", "the status is 202, want 200"},
		{"another response body", "response: {}, expect: {response: {body: x}}", `the response body is "shaped", want "x"`},
		{"another response header", "response: {}, expect: {response: {headers: {vary: null}}}", "the response header is"},
		{"another principal", "expect: {principal: {subject: you}}", `the principal is {"Subject":"me"`},
		{"a principal", "expect: {principal: null}", "want null"},
		{"other metadata", "expect: {metadata: {count: 3}}", "the metadata is 2, want 3"},
		{"metadata that is not there", "expect: {metadata: {other: 3}}", "the metadata is null, want 3"},
		{"other dynamic metadata", "expect: {dynamic: {d: {x: false}}}", `the dynamic metadata is {"x":true}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantFailure(t, tt.want, func(t testing.TB) {
				policytest.RunCases(t, answering().builder(), "cases: [{name: x,\n"+tt.src+"}]", scriptedDefinition)
			})
		})
	}
}

// A mistake in policy.yaml is told once, and not once for each case or each check.
func TestMistakesAreToldOnce(t *testing.T) {
	broken := definitionFile(t, "format: header-name", "format: header")
	for name, run := range map[string]func(testing.TB){
		"cases": func(t testing.TB) {
			policytest.RunCases(t, answering().builder(), "cases: [{name: a, expect: {}}, {name: b, expect: {}}, {name: c, expect: {refused: x}}]", broken)
		},
		"conformance": func(t testing.TB) { policytest.RunAllConformance(t, (&behaviour{}).builder(), broken) },
	} {
		if got := failures(t, run); strings.Count(got, "unknown format") != 1 {
			t.Errorf("%s: the test said %q", name, got)
		}
	}
}

// TestCaseFiles proves that a mistake in the file is found and not passed over.
func TestCaseFiles(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"no cases", "cases: []", "no cases"},
		{"nothing expected", "cases: [{name: x}]", "cases[0].expect"},
		{"no name", "cases: [{expect: {}}]", "cases[0].name"},
		{"an unknown field", "cases: [{name: x, expect: {imediate: {}}}]", `did you mean "immediate"`},
		{"one name twice", "cases: [{name: x, expect: {}}, {name: x, expect: {}}]", "another case has this name"},
		{"two ends", "cases: [{name: x, expect: {error: a, immediate: {status: 401}}}]", "a case ends in one way"},
		{"a response that is not given", "cases: [{name: x, expect: {response: {status: 200}}}]", "there is no response"},
		{"a header without value", "cases: [{name: x, request: {headers: {a: null}}, expect: {}}]", "expected a header's value"},
		{"headers as a list", "cases: [{name: x, request: {headers: [a]}, expect: {}}]", "expected a mapping of header names"},
		{"a status in words", "cases: [{name: x, expect: {immediate: {status: no}}}]", "cases[0].expect.immediate.status"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := failures(t, func(t testing.TB) {
				policytest.RunCases(t, answering().builder(), tt.src, scriptedDefinition)
			})
			if !strings.Contains(got, tt.want) || !strings.HasPrefix(got, "cases.yaml:1:") {
				t.Errorf("the test said %q, want %q in it", got, tt.want)
			}
		})
	}
}
