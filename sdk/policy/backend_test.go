package policy_test

import (
	"strings"
	"testing"

	"policyengine.dev/sdk/policy"
)

// TestBackendRefs proves what names a backend, and that no error shows what was written.
func TestBackendRefs(t *testing.T) {
	for ref, want := range map[string]string{
		"authz": "name", "a-1": "name", "https://authz.example": "url", "http://127.0.0.1:8080/v1": "url", "https://[::1]:1/": "url",
		"": "", "Authz": "", "1a": "", "-a": "", "a_b": "", strings.Repeat("a", 64): "", "ftp://h": "", "https://": "", "https://:80": "", "//h/p": "", "authz:80": "", "a/b": "",
		"https://user:hunter2@h": "", "https://h?token=hunter2": "", "https://h#hunter2": "", "https://h?": "", "https://hunter2 h": "", "https://h/%zz": "",
	} {
		t.Run(ref, func(t *testing.T) {
			var b policy.BackendRef
			err := b.UnmarshalText([]byte(ref))
			u, _ := policy.BackendRef(ref).URL()
			if got := map[bool]string{true: "url", false: "name"}[u != nil]; err == nil && got != want || (err == nil) != (want != "") {
				t.Errorf("it is a %s, %v; want %q", got, err, want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows it: %v", err)
			}
		})
	}
}

// FuzzBackendRef looks for a reference that is accepted and leads elsewhere than it says.
func FuzzBackendRef(f *testing.F) {
	for _, s := range []string{"authz", "https://authz.example:8443/v1", "http://[::1]/", "https://a@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := policy.BackendRef(s).URL()
		if err != nil || u == nil {
			return
		}
		if u.User != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("%q is accepted as %v", s, u)
		}
	})
}
