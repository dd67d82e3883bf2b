package controlplane_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

// call makes a request with the token of the tests, if any, and returns status and body.
func (s *serving) call(method, path, token, match, body string) (int, string) {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if match != "" {
		r.Header.Set("If-Match", `"`+match+`"`)
	}
	w := httptest.NewRecorder()
	s.plane.Handler().ServeHTTP(w, r)
	b, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(b)
}

const chainB = `{name: b, policies: [], bodyLimit: 9}`

// TestPut proves who may change what, that a change that nobody has seen is not overwritten,
// and that an invalid one changes nothing.
func TestPut(t *testing.T) {
	s := serve(t, map[string]string{"all.yaml": one}, false)
	e := s.engine("e", "", nil)
	eventually(t, e.has, "a(1) r->a")
	seen := s.plane.Status().Versions[""]
	for _, c := range []struct {
		name, method, path, token, match, body string
		status                                 int
		says                                   string
	}{
		{"without a token", "PUT", "/clusters/-/chains/b", "", seen, chainB, 401, "token"},
		{"with another token", "PUT", "/clusters/-/chains/b", "guess", seen, chainB, 401, "token"},
		{"without a version", "PUT", "/clusters/-/chains/b", token, "", chainB, 428, "If-Match"},
		{"of another version", "PUT", "/clusters/-/chains/b", token, "0123456789abcdef", chainB, 412, "not"},
		{"of another cluster", "PUT", "/clusters/none/chains/b", token, seen, chainB, 404, "no cluster"},
		{"of a cluster outside", "PUT", "/clusters/..%2Fx/chains/b", token, seen, chainB, 404, "no cluster"},
		{"of another name", "PUT", "/clusters/-/chains/c", token, seen, chainB, 422, "name"},
		{"of a chain that a file has", "PUT", "/clusters/-/chains/a", token, seen, `{name: a, policies: []}`, 412, "all.yaml"},
		{"of what the schema does not have", "PUT", "/clusters/-/chains/b", token, seen, `{name: b, policies: [], x: 1}`, 422, "unknown field"},
		{"of something else", "PUT", "/clusters/-/defaults/b", token, seen, chainB, 404, ""},
		{"too large", "PUT", "/clusters/-/chains/b", token, seen, strings.Repeat("#", 2<<20), 413, "at most"},
		{"back to a version that is not kept", "POST", "/clusters/-/rollback/0123456789abcdef", token, "", "", 404, "not kept"},
		{"back to what is no version", "POST", "/clusters/-/rollback/..%2F..%2Fall.yaml", token, "", "", 404, "no version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := s.call(c.method, c.path, c.token, c.match, c.body)
			if status != c.status || !strings.Contains(body, c.says) {
				t.Errorf("%d %s, want %d %s", status, body, c.status, c.says)
			}
			if now := s.plane.Status().Versions[""]; now != seen {
				t.Errorf("the version is %s", now)
			}
		})
	}
	if status, body := s.call("PUT", "/clusters/-/chains/b", token, seen, chainB); status != 204 {
		t.Fatalf("%d %s", status, body)
	}
	eventually(t, e.has, "a(1) b(9) r->a")
	if status, _ := s.call("PUT", "/clusters/-/routes/x", token, seen, `{name: x, chain: b}`); status != 412 {
		t.Errorf("a change that was not seen is overwritten: %d", status)
	}
	if status, body := s.call("PUT", "/clusters/-/routes/x/*", token, s.plane.Status().Versions[""], `{name: "x/*", chain: b}`); status != 204 {
		t.Fatalf("%d %s", status, body)
	}
	eventually(t, e.has, "a(1) b(9) r->a x/*->b")
	if status, body := s.call("POST", "/clusters/-/rollback/"+seen, token, "", ""); status != 204 {
		t.Fatalf("%d %s", status, body)
	}
	eventually(t, e.has, "a(1) r->a")
}

// TestVersions proves that the last 50 versions are kept, newest first.
func TestVersions(t *testing.T) {
	s := serve(t, map[string]string{"all.yaml": one}, false)
	for i := range 55 {
		s.write("all.yaml", strings.ReplaceAll(one, "bodyLimit: 1", fmt.Sprint("bodyLimit: ", i+2)))
		s.plane.Reload(t.Context())
	}
	status, body := s.call("GET", "/clusters/-/versions", "", "", "")
	var all []string
	if err := json.Unmarshal([]byte(body), &all); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if len(all) != 50 || all[0] != s.plane.Status().Versions[""] {
		t.Errorf("%d versions are kept, the newest is %s", len(all), all[0])
	}
}
