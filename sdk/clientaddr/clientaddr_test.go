package clientaddr_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"policyengine.dev/sdk/clientaddr"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

func headers(lines ...string) policy.Headers {
	x := &exchange.Exchange{}
	for _, l := range lines {
		x.Request.Headers.Append("x-forwarded-for", l)
	}
	return policy.NewRequestContext(x, false).Headers()
}

func TestClient(t *testing.T) {
	inside := clientaddr.Networks(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("::ffff:192.0.2.0/120"))
	for _, tt := range []struct {
		name  string
		trust clientaddr.Trust
		lines []string
		want  string
		err   error
	}{
		{"nobody is trusted", clientaddr.Trust{}, []string{"1.1.1.1, 2.2.2.2"}, "2.2.2.2", nil},
		{"one hop", clientaddr.Hops(1), []string{"1.1.1.1, 2.2.2.2, 10.0.0.1"}, "2.2.2.2", nil},
		{"what a client claims is not read", clientaddr.Hops(1), []string{"<script>, 127.0.0.1, 2.2.2.2,10.0.0.1"}, "2.2.2.2", nil},
		{"several lines are one list", clientaddr.Hops(2), []string{"9.9.9.9", "1.1.1.1, 10.0.0.1", "10.0.0.2"}, "1.1.1.1", nil},
		{"fewer addresses than hops", clientaddr.Hops(2), []string{"1.1.1.1, 10.0.0.1"}, "", clientaddr.ErrTooFew},
		{"a negative number of hops is none", clientaddr.Hops(-1), []string{"1.1.1.1, 2.2.2.2"}, "2.2.2.2", nil},
		{"networks", inside, []string{"6.6.6.6, 1.1.1.1, 192.0.2.7, [2001:db8:1::5]:443, 10.0.0.1"}, "1.1.1.1", nil},
		{"mapped addresses are in IPv4 networks", inside, []string{"1.1.1.1, ::ffff:10.0.0.1"}, "1.1.1.1", nil},
		{"a caller inside", inside, []string{"10.0.0.9, 10.0.0.1"}, "10.0.0.9", nil},
		{"no header", inside, nil, "", clientaddr.ErrMissing},
		{"an empty header", inside, []string{""}, "", clientaddr.ErrMalformed},
		{"an empty element", clientaddr.Trust{}, []string{"1.1.1.1,"}, "", clientaddr.ErrMalformed},
		{"no address where one counts", inside, []string{"unknown, 10.0.0.1"}, "", clientaddr.ErrMalformed},
		{"no address among the hops", clientaddr.Hops(1), []string{"1.1.1.1, _hidden"}, "", clientaddr.ErrMalformed},
		{"too many", inside, []string{"1.1.1.1" + strings.Repeat(",10.0.0.1", clientaddr.MaxHops)}, "", clientaddr.ErrTooMany},
		{"just as many as are read", inside, []string{"1.1.1.1" + strings.Repeat(",10.0.0.1", clientaddr.MaxHops-1)}, "1.1.1.1", nil},
		{"the most hops", clientaddr.Hops(1000), []string{"1.1.1.1" + strings.Repeat(",10.0.0.1", clientaddr.MaxHops-1)}, "1.1.1.1", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.trust.Client(headers(tt.lines...))
			if !errors.Is(err, tt.err) || err == nil && got != netip.MustParseAddr(tt.want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", " 192.0.2.1\t": "192.0.2.1", "192.0.2.1:443": "192.0.2.1", "192.0.2.1:0": "192.0.2.1",
		"2001:db8::1": "2001:db8::1", "[2001:db8::1]": "2001:db8::1", "[2001:db8::1]:65535": "2001:db8::1", "::1": "::1",
		"::ffff:192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1", "2001:DB8::A": "2001:db8::a",
	} {
		if got, ok := clientaddr.Parse(text); !ok || got != netip.MustParseAddr(want) {
			t.Errorf("%q: got %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{
		"", " ", "a", "unknown", "_x", "192.0.2", "192.0.2.1:", "192.0.2.1:a", "192.0.2.1:65536", "192.0.2.1:+1", "192.0.2.1:000001", "192.0.2.01", "+1.2.3.4",
		"[192.0.2.1]", "[192.0.2.1]:80", "[::1", "::1]", "[::1]80", "[::1]:", "[]", "fe80::1%eth0", "[fe80::1%eth0]:80", "\"1.1.1.1\"", "1.1.1.1 2.2.2.2", "1.1.1.1/8",
	} {
		if got, ok := clientaddr.Parse(text); ok {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

// The one allocation is that of the iterator over the header's fields.
func TestClientAllocations(t *testing.T) {
	h, trust := headers("9.9.9.9, 1.1.1.1", "10.0.0.1:443"), clientaddr.Networks(netip.MustParsePrefix("10.0.0.0/8"))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := trust.Client(h); err != nil {
			t.Error(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzClient holds that what comes before the client's address changes nothing, and that
// an address is never one that is trusted unless all are.
func FuzzClient(f *testing.F) {
	f.Add("1.1.1.1, 10.0.0.1", uint8(1))
	f.Add("[::1]:80,::ffff:1.2.3.4:5", uint8(0))
	f.Add(",,,", uint8(3))
	inside := netip.MustParsePrefix("10.0.0.0/8")
	f.Fuzz(func(t *testing.T, list string, hops uint8) {
		for _, trust := range []clientaddr.Trust{clientaddr.Hops(int(hops)), clientaddr.Networks(inside)} {
			got, err := trust.Client(headers(list))
			if err == nil && (!got.IsValid() || got.Zone() != "" || got.Is4In6()) {
				t.Fatalf("got %v", got)
			}
			if err == nil && !inside.Contains(got) {
				more, moreErr := trust.Client(headers("10.6.6.6, 6.6.6.6", "x,"+list))
				if more != got || moreErr != nil {
					t.Fatalf("with more in front: %v, %v; before: %v", more, moreErr, got)
				}
			}
			if again, againErr := trust.Client(headers(strings.Split(list, ",")...)); again != got || againErr != err {
				t.Fatalf("in lines: %v, %v; in one: %v, %v", again, againErr, got, err)
			}
		}
	})
}
