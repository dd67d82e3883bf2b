package policy_test

import (
	"slices"
	"strings"
	"testing"

	"policyengine.dev/sdk/policy"
)

type owner []string

func (o owner) OwnedRequestHeaders() []string { return o }

func TestOwnedRequestHeaders(t *testing.T) {
	for _, c := range []struct {
		name     string
		instance any
		want     []string
	}{
		{"a policy that owns none", headersOnly{}, nil},
		{"an empty list", owner{}, nil},
		{"names in any case, once each", owner{"X-User", "x-roles", "x-user"}, []string{"x-roles", "x-user"}},
	} {
		got, err := policy.OwnedRequestHeaders(c.instance)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	got, err := policy.OwnedRequestHeaders(owner{":path", "x-user", "Host", "a b"})
	if err == nil || !slices.Equal(got, []string{"x-user"}) {
		t.Fatalf("%q, %v", got, err)
	}
	for _, want := range []string{`the header ":path": it is a pseudo-header`, `"Host": it is the authority`, `"a b": it is not a header name`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error:\n%v", want, err)
		}
	}
}
