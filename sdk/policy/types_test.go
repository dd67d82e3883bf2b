package policy_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"policyengine.dev/sdk/policy"
)

func TestDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{`"200ms"`: 200 * time.Millisecond, `"1h30m"`: 90 * time.Minute, `"0s"`: 0, `"-1s"`: -time.Second} {
		var d policy.Duration
		if err := json.Unmarshal([]byte(in), &d); err != nil || d.Std() != want {
			t.Errorf("%s gives %v, %v", in, d, err)
		}
	}
	for _, in := range []string{`"5"`, `"soon"`, `""`, `5`, `{}`} {
		var d policy.Duration
		if err := json.Unmarshal([]byte(in), &d); err == nil {
			t.Errorf("%s gives %v", in, d)
		}
	}
	if b, err := json.Marshal(policy.Duration(time.Minute)); err != nil || string(b) != `"1m0s"` {
		t.Errorf("a minute marshals as %s, %v", b, err)
	}
}

func TestHeaderNameAndValue(t *testing.T) {
	var name policy.HeaderName
	if err := json.Unmarshal([]byte(`"X-Api-Key"`), &name); err != nil || name != "x-api-key" {
		t.Errorf("the name is %q, %v", name, err)
	}
	for _, bad := range []string{`""`, `":path"`, `"a b"`, `"a:b"`, `"a\u0000"`, `"ä"`, `"a\r\n"`, `"(a)"`} {
		if err := json.Unmarshal([]byte(bad), &name); err == nil {
			t.Errorf("the name %s is accepted", bad)
		}
	}
	var value policy.HeaderValue
	for _, good := range []string{`""`, `"a b"`, `"a\tb"`, `"ä"`, `"~!"`} {
		if err := json.Unmarshal([]byte(good), &value); err != nil {
			t.Errorf("the value %s: %v", good, err)
		}
	}
	for _, bad := range []string{`"s3cret\nx"`, `"s3cret\r"`, `"s3cret\u0000"`, `"s3cret\u007f"`} {
		err := json.Unmarshal([]byte(bad), &value)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the value %s: error %v, which may not quote it", bad, err)
		}
	}
}

// TestTokenCharacters goes through all bytes by RFC 9110, sections 5.5 and 5.6.2.
func TestTokenCharacters(t *testing.T) {
	const tchar = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for b := range 256 {
		s := string([]byte{byte(b)})
		if got := policy.ValidHeaderName("a" + s); got != strings.Contains(tchar, s) {
			t.Errorf("byte 0x%02x in a name: %v", b, got)
		}
		if got, want := policy.ValidHeaderValue("a"+s), b == '\t' || b >= ' ' && b != 0x7f; got != want {
			t.Errorf("byte 0x%02x in a value: %v", b, got)
		}
	}
}

func TestCheckHeaderEdit(t *testing.T) {
	for _, name := range []string{
		"", ":path", ":anything", "a b", "a\r\nb",
		"host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade", "te",
		"http2-settings", "x-envoy-", "x-envoy-retry-on",
	} {
		for _, name := range []string{name, strings.ToUpper(name)} {
			if policy.CheckHeaderEdit(name) == nil {
				t.Errorf("%q may be changed", name)
			}
		}
	}
	for _, name := range []string{
		"x-api-key", "X-Tenant", "authorization", "cookie", "grpc-status", "trailer", "server", "x-envoy", "expect-ct",
		"x-forwarded", "x-request-id", "access-control-a", "content-encoding", "ab",
	} {
		if err := policy.CheckHeaderEdit(name); err != nil {
			t.Errorf("%q %v", name, err)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		if policy.CheckHeaderEdit("X-Api-Key") != nil || policy.CheckHeaderEdit("Connection") == nil {
			t.Fatal("wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
