package policytest_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// withFile is an example whose policy reads a file that lies beside policy.yaml.
var withFile = []string{
	"- name: little\n  params: {header: authorization}\n",
	"- name: with a file\n  params: {header: x-list}\n  files: {/run/list: policy.yaml.list}\n",
}

// listing is a policy that reads /run/list.
func listing(parse func([]byte) (string, error), use func(string) error) *behaviour {
	var list *policy.File[string]
	return &behaviour{
		create: func(p subjectParams, h policy.Host) error {
			list = nil
			if p.Header == "x-list" {
				list = policy.WatchFile(h, "/run/list", parse)
			}
			return nil
		},
		headers: func(*subject, context.Context, *policy.RequestContext) (policy.RequestAction, error) {
			if list == nil {
				return nil, nil
			}
			v, err := list.Value()
			if err != nil {
				return nil, err
			}
			return nil, use(v)
		},
	}
}

func text(b []byte) (string, error) { return string(b), nil }

// withList is the definition, and the file of its example beside it.
func withList(t testing.TB, content string) policytest.Option {
	option, path := definitionAt(t, withFile...)
	if content != "" {
		if err := os.WriteFile(path+".list", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return option
}

// Code behind a file runs in the conformance suite, since examples bring files.
func TestConformanceReachesCodeBehindAFile(t *testing.T) {
	fine := func(string) error { return nil }
	for _, tt := range []struct {
		name, check, content string
		policy               *behaviour
		want                 string
	}{
		{"a panic behind a good file", "hostile input", "good\n", listing(text, func(v string) error {
			if v == "good\n" {
				panic("behind the file")
			}
			return nil
		}), "it panicked: behind the file"},
		{"a panic in what reads the file", "files", "good\n", listing(func(b []byte) (string, error) { return string(b[:1]), nil }, fine), "it panicked: runtime error: slice bounds"},
		{"a panic on a damaged file", "files", "good\n", listing(func(b []byte) (string, error) {
			if !strings.HasPrefix(string(b), "go") && len(b) > 0 {
				panic("damaged")
			}
			return string(b), nil
		}, fine), "it panicked: damaged"},
		{"a file that is not there", "examples", "", listing(text, fine), "examples[1].files: open "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := withList(t, tt.content)
			wantFailure(t, tt.want, func(t testing.TB) { policytest.RunConformance(t, tt.check, tt.policy.builder(), def) })
		})
	}
	t.Run("a policy that copes", func(t *testing.T) {
		policytest.Conformance(t, listing(func(b []byte) (string, error) {
			if string(b) != "good\n" {
				return "", errors.New("it is damaged")
			}
			return "good", nil
		}, fine).builder(), withList(t, "good\n"))
	})
}

// reading is a policy that reads attributes.
func reading(request, response string) *behaviour {
	return &behaviour{
		headers: func(_ *subject, _ context.Context, r *policy.RequestContext) (policy.RequestAction, error) {
			r.Attribute(request)
			return nil, nil
		},
		trailers: func(_ *subject, r *policy.ResponseContext) (policy.ResponseAction, error) {
			r.Attribute(response)
			return nil, nil
		},
	}
}

func TestConformanceFindsUndeclaredAttributes(t *testing.T) {
	declared := func(attributes string) []string {
		return []string{"body: raw\n", "body: raw\nattributes: " + attributes + "\n"}
	}
	const source, upstream = "source.address", "upstream.address"
	for _, tt := range []struct {
		name       string
		policy     *behaviour
		definition []string
		want       string
	}{
		{"one of a request", reading(source, upstream), declared("{response: [upstream.address]}"), "reads the attribute source.address in a request phase"},
		{"one of a response", reading(source, upstream), declared("{request: [source.address]}"), "reads the attribute upstream.address in a response phase"},
		{"one that comes later", reading(upstream, source), declared("{request: [source.address], response: [upstream.address]}"), "reads the attribute upstream.address in a request phase"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := definitionFile(t, tt.definition...)
			wantFailure(t, tt.want, func(t testing.TB) { policytest.RunConformance(t, "attributes", tt.policy.builder(), def) })
		})
	}
	for _, good := range []struct {
		policy     *behaviour
		definition string
	}{
		{reading(source, upstream), "{request: [source.address], response: [upstream.address]}"},
		{reading(source, source), "{request: [source.address]}"},
	} {
		policytest.RunConformance(t, "attributes", good.policy.builder(), definitionFile(t, declared(good.definition)...))
	}
	policytest.RunConformance(t, "attributes", policy.Define(func(subjectParams, policy.Host) (byParameters, error) { return byParameters{}, nil }), definitionFile(t))
}

// byParameters is a policy that says itself which attributes it reads.
type byParameters struct{}

func (byParameters) ReadsAttributes() (request, response []string) {
	return []string{"a"}, []string{"b"}
}

func (byParameters) OnRequestHeaders(_ context.Context, r *policy.RequestContext) (policy.RequestAction, error) {
	r.Attribute("a")
	return nil, nil
}

func (byParameters) OnResponseTrailers(_ context.Context, r *policy.ResponseContext) (policy.ResponseAction, error) {
	r.Attribute("b")
	return nil, nil
}
