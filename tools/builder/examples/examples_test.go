package examples_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/tools/builder/examples"
)

type params struct {
	Fail, Panic, Close string
}

type instance struct{ closing string }

func (*instance) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func (i *instance) Close() error {
	if i.closing != "" {
		return errors.New(i.closing)
	}
	return nil
}

func newInstance(p params, host policy.Host) (*instance, error) {
	if p.Panic != "" {
		panic(p.Panic)
	}
	if p.Fail != "" {
		return nil, errors.New(p.Fail)
	}
	host.Logger.Info("the host is complete")
	host.Metrics.Counter("a", "b").Add(1)
	return &instance{p.Close}, nil
}

func entry(t *testing.T, phases, params string) examples.Entry {
	t.Helper()
	d, err := definition.Parse("policy.yaml", []byte("apiVersion: policyengine/v1\nname: a\nversion: v1.0.0\ndescription: A.\nphases: ["+phases+"]\n"+
		"parameters: {type: object}\nexamples:\n- name: one\n  params: "+params+"\n- {name: none}\n"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return examples.Entry{Definition: string(data), Factory: policy.Define(newInstance)}
}

func TestTry(t *testing.T) {
	for name, test := range map[string]struct{ phases, params, want string }{
		"good":                         {"request_headers", "{}", ""},
		"constructor refuses":          {"request_headers", "{fail: no such key}", `a v1.0.0: example "one": making an instance: no such key`},
		"constructor panics":           {"request_headers", "{panic: oh}", `a v1.0.0: example "one": making an instance panicked: oh`},
		"instance cannot be closed":    {"request_headers", "{close: oh}", `a v1.0.0: example "one": closing the instance: oh`},
		"details after one line":       {"request_headers", `{fail: "no key\nno name"}`, "a v1.0.0: example \"one\": making an instance: no key\n    no name"},
		"parameter unknown to Go":      {"request_headers", "{other: 1}", `unknown field "other"`},
		"phase implemented undeclared": {"request_headers, request_body", "{}", "a v1.0.0: policy.yaml declares the phases request_headers, request_body, and *examples_test.instance implements request_headers; declare what it implements"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(examples.Try([]examples.Entry{entry(t, test.phases, test.params)}), "\n")
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %s\nwant %s", got, test.want)
			}
		})
	}
	if got := examples.Try([]examples.Entry{{Definition: "{}"}}); len(got) != 1 {
		t.Errorf("a bad definition: %q", got)
	}
}
