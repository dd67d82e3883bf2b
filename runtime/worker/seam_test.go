package worker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"policyengine.dev/runtime/remote/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// elsewhere is a site of which every call and every answer becomes bytes. It stands for
// another process. The other end uses the same chain, all steps of it, so that a call is for
// the steps at its position in the chain.
type elsewhere struct{ name string }

func (e *elsewhere) Caller(p worker.Place) worker.Caller { return &crossing{e, p} }

// crossing calls steps through bytes.
type crossing struct {
	site  *elsewhere
	place worker.Place
}

// callee is the other end of an exchange.
type callee struct{ *worker.Callee }

func (x *crossing) Call(ctx context.Context, c *worker.Call) {
	other, ok := c.Kept(x.site.name).(callee)
	if !ok {
		chain, _ := c.Snapshot().ChainNamed(x.place.Chain)
		other = callee{c.Snapshot().Serve(chain)}
		c.Keep(x.site.name, other)
	}
	reads := &wire.Reads{Body: x.place.Body, Trailers: x.place.Trailers, ResponseBody: x.place.ResponseBody, ResponseTrailers: x.place.ResponseTrailers,
		Attributes: x.place.Attributes}
	sent, err := wire.AppendCall(nil, wire.Target{ID: 7, Chain: x.place.Chain, First: c.Position()}, c, reads)
	if err != nil {
		c.Fail(worker.Failure{Kind: worker.BadAction, Err: err})
		return
	}
	_, group, err := wire.DecodeCall(sent, func(wire.Target) *exchange.Exchange { return other.Exchange() })
	clear(sent)
	if err != nil {
		c.Fail(worker.Failure{Err: err})
		return
	}
	back := make(chan []byte, 1)
	go func() {
		if err := other.Run(ctx, group, func(as []worker.Answer) { back <- wire.AppendAnswers(nil, 7, as) }); err != nil {
			back <- wire.AppendError(nil, 7, err.Error())
		}
	}()
	received := <-back
	phase := c.Phase()
	answers, err := wire.DecodeAnswers(received, func(uint64) (policy.Phase, bool) { return phase, true })
	clear(received)
	if err != nil || answers.Error != "" {
		c.Fail(worker.NewFailure(worker.Unanswered, answers.Error, nil))
		return
	}
	for i := range answers.Answers {
		if !c.Answer(&answers.Answers[i]) {
			return
		}
	}
}

// way is how the policies of a chain are called.
type way int

const (
	inProcess way = iota
	// together: all policies of a chain are at one other site.
	together
	// apart: each policy is at its own site.
	apart
	// mixed: every second policy is in this process.
	mixed
)

// theWay is how harnesses that are made have policies called.
var theWay way

// sites returns the sites of the steps as they are compiled.
func (w way) sites() func(*worker.Version) worker.Site {
	one := &elsewhere{"one"}
	n := 0
	return func(*worker.Version) worker.Site {
		n++
		switch {
		case w == mixed && n%2 == 0:
			return nil
		case w == apart:
			return &elsewhere{fmt.Sprint(n)}
		}
		return one
	}
}

// TestTheSeam proves that policies which are called through bytes come to the same: the
// tests of this package that run policies hold for them too.
func TestTheSeam(t *testing.T) {
	defer func() { theWay = inProcess }()
	for name, w := range map[string]way{"together": together, "apart": apart, "mixed": mixed} {
		for _, tc := range []struct {
			name string
			test func(*testing.T)
		}{
			{"TestLaterPoliciesSeeEarlierChanges", TestLaterPoliciesSeeEarlierChanges},
			{"TestResponseOrderIsReversed", TestResponseOrderIsReversed},
			{"TestImmediateResponseEndsTheChain", TestImmediateResponseEndsTheChain},
			{"TestFailures", TestFailures},
			{"TestHostileErrors", TestHostileErrors},
			{"TestPanicIsLoggedWithItsStack", TestPanicIsLoggedWithItsStack},
			{"TestShadowChangesNothing", TestShadowChangesNothing},
			{"TestDecisionRecord", TestDecisionRecord},
			{"TestConditionHoldsForLaterPhases", TestConditionHoldsForLaterPhases},
			{"TestConditionErrorIsThePolicysError", TestConditionErrorIsThePolicysError},
			{"TestOnReject", TestOnReject},
			{"TestChunks", TestChunks},
			{"TestAResponsesAnswerThatIsNone", TestAResponsesAnswerThatIsNone},
			{"TestStepsThatCannotDenyLeaveTime", TestStepsThatCannotDenyLeaveTime},
			{"TestTheCauseOfAnAnswerIsRecorded", TestTheCauseOfAnAnswerIsRecorded},
			{"TestNeedsFollowConditions", TestNeedsFollowConditions},
			{"TestRequestsAreCountedByRoute", TestRequestsAreCountedByRoute},
			{"TestOwnedHeadersOfTheClient", TestOwnedHeadersOfTheClient},
			{"TestOwnedHeadersOfOtherSteps", TestOwnedHeadersOfOtherSteps},
			{"TestRefusalsAreLogged", TestRefusalsAreLogged},
			{"TestReadingChunks", TestReadingChunks},
			{"TestStart", TestStart},
			{"TestBudgetBoundsTheChain", TestBudgetBoundsTheChain},
			{"TestManyConcurrentRuns", TestManyConcurrentRuns},
		} {
			t.Run(name+"/"+tc.name, func(t *testing.T) {
				theWay = w
				tc.test(t)
			})
		}
	}
}

// TestAnswersThatCannotCross proves that an answer with a value that cannot be serialised is the
// policy's error where the policy runs elsewhere, with the key named; that nothing of it is
// applied; and that the same answer is fine in this process, except in what Envoy is told.
func TestAnswersThatCannotCross(t *testing.T) {
	defer func() { theWay = inProcess }()
	began := []policy.Entry{{Key: "fine", Value: "text"}, {Key: "began", Value: time.Time{}}}
	for _, tt := range []struct {
		name    string
		answer  policy.RequestAction
		want    string
		nowhere bool
	}{
		{name: "metadata", answer: &policy.RequestMutation{Metadata: began}, want: "metadata \"began\" cannot be sent to the engine's process: it holds a time.Time"},
		{name: "metadata of a skip", answer: &policy.SkipRest{Reason: "KNOWN", Mutation: &policy.RequestMutation{Metadata: began}},
			want: "metadata \"began\" cannot be sent to the engine's process: it holds a time.Time"},
		{name: "a claim", answer: &policy.RequestMutation{Principal: &policy.Principal{Subject: "me", Claims: map[string]any{"tiers": []string{"gold"}}}},
			want: "the principal's claim \"tiers\" cannot be sent to the engine's process: it holds a []string"},
		{name: "dynamic metadata", answer: &policy.RequestMutation{DynamicMetadata: began}, want: "dynamic metadata \"began\"", nowhere: true},
	} {
		for name, w := range map[string]way{"in process": inProcess, "elsewhere": together} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				theWay = w
				h := newHarness(t, false)
				x := begin(h.load(h.use(&script{phases: policy.Phases(policy.RequestHeaders), skips: true,
					request: func(context.Context, policy.Phase, *policy.RequestContext) (policy.RequestAction, error) {
						return tt.answer, nil
					}})))
				defer x.End(false)
				out := x.Run(context.Background(), policy.RequestHeaders, budget, noResume{t})
				if w == inProcess && !tt.nowhere {
					wantContinue(t, out)
					return
				}
				if out.Kind != worker.Respond || out.Response.Reason != "POLICY_ERROR" {
					t.Errorf("the outcome is %+v, want a refusal", out)
				}
				if _, ok := x.Exchange().Metadata.Get("fine"); ok || x.Exchange().Principal != nil {
					t.Error("a part of the answer was applied")
				}
				if log := h.log.String(); !strings.Contains(strings.ReplaceAll(log, `\"`, `"`), tt.want) {
					t.Errorf("the log is %s\nand does not say %s", log, tt.want)
				}
			})
		}
	}
}
