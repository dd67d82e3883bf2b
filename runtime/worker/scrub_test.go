package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

// TestSecretsAreInNothingThatIsShown proves that the credentials in a policy's
// parameters are in no problem, warning, dump or log line, even where the policy's own
// errors tell them.
func TestSecretsAreInNothingThatIsShown(t *testing.T) {
	const secret = "hunter2"
	const url = "https://user:" + secret + "@idp.example/keys?token=" + secret
	fetch := fmt.Errorf("Get %q: connection refused", url)
	h := newHarness(t, false)
	s := onRequestHeaders(func(context.Context, *policy.RequestContext) (policy.RequestAction, error) { return nil, fetch })
	s.start = func(context.Context) error { return fetch }
	ps := h.use(s)
	with := func(id, script string) worker.PolicySpec {
		params, err := json.Marshal(scriptParams{Script: script, Other: url})
		if err != nil {
			t.Fatal(err)
		}
		return worker.PolicySpec{ID: id, Name: "script", Version: "v1.0.0", Params: params}
	}
	var shown strings.Builder
	show := func(what string, text any) {
		if fmt.Fprintln(&shown, what, text); strings.Contains(fmt.Sprint(text), secret) {
			t.Errorf("%s: %v", what, text)
		}
	}
	spec := specOf(worker.ChainSpec{Policies: []worker.PolicySpec{with("fails", ps.ID)}})
	spec.Chains[0].Name = "c"
	warnings, err := h.Update(context.Background(), spec)
	if err != nil || len(warnings) != 1 {
		t.Fatal(warnings, err)
	}
	show("the warning", warnings)
	snapshot := h.Acquire()
	defer snapshot.Release()
	c := chainOf(snapshot)
	for info := range c.Steps {
		show("the parameters", string(info.Params))
		show("the start's error", info.StartError)
	}
	x, _ := h.runRequest(c)
	x.End(false)

	// A step that can be called and errs.
	works := with("errs", ps.ID)
	spec.Chains[0].Policies = []worker.PolicySpec{works}
	s.start = func(context.Context) error { return nil }
	if _, err := h.Update(context.Background(), spec); err != nil {
		t.Fatal(err)
	}
	again := h.Acquire()
	defer again.Release()
	c = chainOf(again)
	x, _ = h.runRequest(c)
	x.End(false)
	show("the log", h.log)

	// What New refuses.
	spec.Chains[0].Policies = []worker.PolicySpec{with("wrong", url)}
	_, err = h.Update(context.Background(), spec)
	var all worker.Problems
	if !errors.As(err, &all) {
		t.Fatal(err)
	}
	show("the problem", all)
	if n := strings.Count(shown.String(), "idp.example/keys?[redacted]"); n < 5 {
		t.Errorf("the address is shown %d times only:\n%s", n, shown.String())
	}
}
