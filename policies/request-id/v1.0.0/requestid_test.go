package requestid_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	requestid "policyengine.dev/policies/request-id/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func TestCases(t *testing.T) {
	policytest.Cases(t, requestid.Policy, "testdata/cases.yaml")
}

// TestNewIDs proves that new IDs are UUIDs of the version that was asked for, that no
// two are the same, and that those of version 7 sort by time.
func TestNewIDs(t *testing.T) {
	for format, want := range map[string]string{
		"uuid4": `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`,
		"uuid7": `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`,
	} {
		p := policytest.New(t, requestid.Policy, `{accept: never, format: `+format+`}`)
		seen, last := map[string]bool{}, ""
		for range 100 {
			x := p.Send(t, policytest.Request{})
			id := x.Request.Header("x-request-id")
			if !regexp.MustCompile(want).MatchString(id) || seen[id] {
				t.Errorf("%s: %q", format, id)
			}
			if format == "uuid7" && id <= last {
				t.Errorf("%s does not sort behind %s", id, last)
			}
			seen[id], last = true, id
			p.Host.Clock.Advance(time.Millisecond)
		}
	}
}

// TestVersion7HasTheTime compares with the example of RFC 9562, appendix A.6.
func TestVersion7HasTheTime(t *testing.T) {
	h := policytest.NewHost()
	h.Clock = policytest.NewClock(time.Date(2022, 2, 22, 19, 22, 22, 0, time.UTC))
	h.Random = strings.NewReader("\x00\x00\x00\x00\x00\x00\x0c\xc3\x18\xc4\xdc\x0c\x0c\x07\x39\x8f")
	p := policytest.New(t, requestid.Policy, `{format: uuid7}`, policytest.WithHost(h))
	if got, want := p.Send(t, policytest.Request{}).Request.Header("x-request-id"), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestWithoutRandomBytesThePolicyCannotDecide proves that no request gets a guessable ID.
func TestWithoutRandomBytesThePolicyCannotDecide(t *testing.T) {
	h := policytest.NewHost()
	h.Random = strings.NewReader("short")
	p := policytest.New(t, requestid.Policy, `{}`, policytest.WithHost(h))
	if err := p.SendError(t, policytest.Request{}); !strings.Contains(err.Error(), "reading random bytes") {
		t.Error(err)
	}
}

// TestOnlyWhatIsNeededIsAskedFor proves that the response is shown only where it gets
// the ID.
func TestOnlyWhatIsNeededIsAskedFor(t *testing.T) {
	p := policytest.New(t, requestid.Policy, `{responseHeader: ""}`)
	if got := policy.ActivePhases(p.Instance); got != policy.Phases(policy.RequestHeaders) {
		t.Errorf("phases are %v", got)
	}
}

// FuzzAccept proves that the upstream sees one ID of harmless characters, whatever the
// client sends.
func FuzzAccept(f *testing.F) {
	harmless := regexp.MustCompile(`^[A-Za-z0-9._~:+/=-]{1,128}$`)
	p := policytest.New(f, requestid.Policy, `{}`)
	f.Add("a b", "c")
	f.Add("id-1", "")
	f.Fuzz(func(t *testing.T, first, second string) {
		headers := policytest.Headers("x-request-id", first)
		if second != "" {
			headers = append(headers, policytest.Headers("X-Request-Id", second)...)
		}
		x := p.Send(t, policytest.Request{Headers: headers})
		if id := x.Request.Header("x-request-id"); !harmless.MatchString(id) || x.Request.Headers().Count("x-request-id") != 1 {
			t.Errorf("the upstream sees %q", id)
		}
	})
}

func BenchmarkOnRequestHeaders(b *testing.B) {
	for _, accept := range []string{"valid", "never"} {
		p := policytest.New(b, requestid.Policy, `{accept: `+accept+`}`)
		instance := p.Instance.(*requestid.RequestID)
		x := p.Send(b, policytest.Request{Headers: policytest.Headers("x-request-id", "c0ffee00-1234-4abc-8def-001122334455")})
		b.Run(accept, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := instance.OnRequestHeaders(b.Context(), &x.Request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
