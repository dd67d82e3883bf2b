package ipallowdeny_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	ipallowdeny "policyengine.dev/policies/ip-allow-deny/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, ipallowdeny.Policy, "testdata/cases.yaml")
}

func from(address string) policytest.Request {
	return policytest.Request{Attributes: map[string]any{"source.address": address}}
}

// TestOnlyWhatIsNeededIsRead proves that Envoy need not send its view of the client
// where it is not checked.
func TestOnlyWhatIsNeededIsRead(t *testing.T) {
	for params, want := range map[string]string{
		`{deny: [192.0.2.1]}`:                           "[source.address]",
		`{deny: [192.0.2.1], client: {trustedHops: 1}}`: "[]",
	} {
		instance := policytest.New(t, ipallowdeny.Policy, params).Instance
		request, _ := instance.(policy.AttributeReader).ReadsAttributes()
		if got := fmt.Sprint(request); got != want {
			t.Errorf("%s: %s is read, want %s", params, got, want)
		}
	}
}

// TestFiles proves that a file counts when it changes, and that a bad one changes
// nothing; all problems are told with their lines.
func TestFiles(t *testing.T) {
	h := policytest.NewHost()
	h.Files.Set("/denied", "192.0.2.1\n")
	p := policytest.New(t, ipallowdeny.Policy, `{denyFiles: [/denied]}`, policytest.WithHost(h))
	p.Send(t, from("192.0.2.1:1")).WantRejected(t, 403, ipallowdeny.ReasonDenied)
	p.Send(t, from("192.0.2.2:1")).WantPassed(t)
	h.Files.Set("/denied", "192.0.2.2\n")
	p.Send(t, from("192.0.2.1:1")).WantPassed(t)
	p.Send(t, from("192.0.2.2:1")).WantRejected(t, 403, ipallowdeny.ReasonDenied)
	h.Files.Set("/denied", "192.0.2.9\nnonsense\n10.0.0.1/8\n")
	p.Send(t, from("192.0.2.2:1")).WantRejected(t, 403, ipallowdeny.ReasonDenied)
	p.Send(t, from("192.0.2.9:1")).WantPassed(t)
	for _, want := range []string{"line 2", "line 3"} {
		if log := h.Logs.String(); !strings.Contains(log, want) {
			t.Errorf("%s is not in the log: %s", want, log)
		}
	}
}

// TestWithoutItsFileThePolicyCannotDecide proves that a list which was never read is an
// error, and no empty list.
func TestWithoutItsFileThePolicyCannotDecide(t *testing.T) {
	p := policytest.New(t, ipallowdeny.Policy, `{denyFiles: [/nowhere]}`, policytest.WithoutStart())
	if err := p.Instance.(policy.Starter).Start(t.Context()); err == nil {
		t.Error("the policy starts")
	}
	if err := p.SendError(t, from("192.0.2.1:1")); err == nil {
		t.Error("there is no error")
	}
}

// FuzzList proves that no list panics, and that it holds an address exactly if one of its
// lines does.
func FuzzList(f *testing.F) {
	f.Add("192.0.2.0/24\n# x\n2001:db8::/32", "192.0.2.1")
	f.Add("::ffff:192.0.2.0/120\n::/0", "::ffff:192.0.2.1")
	f.Fuzz(func(t *testing.T, content, address string) {
		client, err := netip.ParseAddr(address)
		if err != nil || client.Zone() != "" {
			return
		}
		client = client.Unmap()
		contains, err := ipallowdeny.Parse(content)
		if err != nil {
			return
		}
		want := false
		for line := range strings.Lines(content) {
			line, _, _ = strings.Cut(line, "#")
			line = strings.TrimSpace(line)
			if a, err := netip.ParseAddr(line); err == nil {
				want = want || a.Unmap() == client
			}
			if n, err := netip.ParsePrefix(line); err == nil {
				want = want || n.Contains(client) || n.Addr().Is4In6() && n.Bits() >= 96 && n.Contains(netip.AddrFrom16(client.As16()))
			}
		}
		if got := contains(client); got != want {
			t.Errorf("%s in %q: %t", client, content, got)
		}
	})
}

// BenchmarkOnRequestHeaders shows that the length of a list hardly matters.
func BenchmarkOnRequestHeaders(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		var content strings.Builder
		for i := range n {
			fmt.Fprintf(&content, "10.%d.%d.%d\n", i>>15&255, i>>7&255, i<<1&255)
		}
		h := policytest.NewHost()
		h.Files.Set("/list", content.String())
		p := policytest.New(b, ipallowdeny.Policy, `{denyFiles: [/list]}`, policytest.WithHost(h))
		instance := p.Instance.(*ipallowdeny.AllowDeny)
		x := p.Send(b, from("192.0.2.1:4711"))
		b.Run(fmt.Sprint(n, " networks"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if a, err := instance.OnRequestHeaders(b.Context(), &x.Request); a != nil || err != nil {
					b.Fatal(a, err)
				}
			}
		})
	}
}
