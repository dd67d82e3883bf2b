package client_test

import (
	"iter"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"policyengine.dev/policies/internal/client"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

type attributes map[string]any

func (a attributes) Lookup(name string) (any, bool) { v, ok := a[name]; return v, ok }

func (a attributes) All() iter.Seq2[string, any] { return maps.All(a) }

// TestFind proves whom each parameter believes.
func TestFind(t *testing.T) {
	two := 2
	for _, tt := range []struct {
		name      string
		params    client.Params
		source    any
		forwarded string
		want      string
	}{
		{"Envoy", client.Params{}, "192.0.2.1:4711", "198.51.100.9", "192.0.2.1"},
		{"Envoy, mapped", client.Params{}, "[::ffff:192.0.2.1]:4711", "", "192.0.2.1"},
		{"Envoy on a Unix socket", client.Params{}, "/run/envoy.sock", "198.51.100.9", ""},
		{"Envoy that does not say", client.Params{}, nil, "198.51.100.9", ""},
		{"hops", client.Params{TrustedHops: &two}, "192.0.2.1:4711", "1.1.1.1, 198.51.100.9, 10.0.0.1, 10.0.0.2", "198.51.100.9"},
		{"too few hops", client.Params{TrustedHops: &two}, "192.0.2.1:4711", "10.0.0.2", ""},
		{"networks", client.Params{TrustedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, nil, "1.1.1.1, 198.51.100.9, 10.0.0.1", "198.51.100.9"},
	} {
		f, err := client.Compile(tt.params)
		if err != nil {
			t.Fatal(err)
		}
		var x exchange.Exchange
		if tt.source != nil {
			x.Attributes = attributes{client.Attribute: tt.source}
		}
		if tt.forwarded != "" {
			x.Request.Headers.Append("x-forwarded-for", tt.forwarded)
		}
		req := policy.NewRequestContext(&x, false)
		got, ok := f.Find(&req)
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("%s: %v, %t, want %q", tt.name, got, ok, tt.want)
		}
	}
}

func TestBothAreRefused(t *testing.T) {
	hops := 1
	_, err := client.Compile(client.Params{TrustedHops: &hops, TrustedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err == nil || !strings.Contains(err.Error(), "not both") {
		t.Error(err)
	}
}
