package apikeyvalidation_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	apikey "policyengine.dev/policies/api-key-validation/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// keys are two parameters `keys`, of the keys "good-1" and "good-2".
var keys = fmt.Sprintf(`keys: [{id: billing, sha256: %q}, {id: mobile, sha256: %q}]`,
	hash("good-1"), strings.ToUpper(hash("good-2")))

func TestDecisions(t *testing.T) {
	const header, query, either = "header: X-API-Key\n", "query: api_key\n", "header: x-api-key\nquery: api_key\n"
	for _, tt := range []struct {
		name, place string
		target      string
		headers     []policy.Header
		// subject is the principal where the request passes; else reason is
		// that of the 401.
		subject, reason string
	}{
		{"the first key", header, "/", policytest.Headers("x-api-key", "good-1"), "billing", ""},
		{"the second key, its hash in upper case", header, "/", policytest.Headers("x-api-key", "good-2"), "mobile", ""},
		{"the header in another case", header, "/", policytest.Headers("X-Api-KEY", "good-1"), "billing", ""},
		{"the query parameter", query, "/?a=1&api_key=good-1", nil, "billing", ""},
		{"the query parameter, encoded", query, "/?api%5Fkey=good%2d1", nil, "billing", ""},
		{"either place: the header", either, "/", policytest.Headers("x-api-key", "good-1"), "billing", ""},
		{"either place: the query", either, "/?api_key=good-2", nil, "mobile", ""},
		{"no key", header, "/", nil, "", apikey.ReasonMissing},
		{"an empty key", header, "/", policytest.Headers("x-api-key", ""), "", apikey.ReasonMissing},
		{"an empty parameter", query, "/?api_key", nil, "", apikey.ReasonMissing},
		{"an unknown key", header, "/", policytest.Headers("x-api-key", "good-3"), "", apikey.ReasonInvalid},
		{"the beginning of a key", header, "/", policytest.Headers("x-api-key", "good-"), "", apikey.ReasonInvalid},
		{"the hash itself", header, "/", policytest.Headers("x-api-key", hash("good-1")), "", apikey.ReasonInvalid},
		{"a key with a space", header, "/", policytest.Headers("x-api-key", "good-1 "), "", apikey.ReasonInvalid},
		{"a key in the other place", header, "/?x-api-key=good-1", nil, "", apikey.ReasonMissing},
		{"the same key twice", header, "/", policytest.Headers("x-api-key", "good-1", "x-api-key", "good-1"), "", apikey.ReasonInvalid},
		{"a good key after an empty one", header, "/", policytest.Headers("x-api-key", "", "x-api-key", "good-1"), "", apikey.ReasonInvalid},
		{"a good parameter beside another", query, "/?api_key=good-1&api_key=x", nil, "", apikey.ReasonInvalid},
		{"a good parameter beside one that cannot be decoded", query, "/?api_key=%zz&api_key=good-1", nil, "", apikey.ReasonInvalid},
		{"a key in both places", either, "/?api_key=good-1", policytest.Headers("x-api-key", "good-1"), "", apikey.ReasonInvalid},
		{"a parameter that cannot be decoded", query, "/?api_key=%zz", nil, "", apikey.ReasonMissing},
		{"a key in the query beside an empty header", either, "/?api_key=good-1", policytest.Headers("x-api-key", ""), "billing", ""},
		{"a key in the header beside an empty parameter", either, "/?api_key=&a", policytest.Headers("x-api-key", "good-1"), "billing", ""},
		{"empty in both places", either, "/?api_key", policytest.Headers("x-api-key", ""), "", apikey.ReasonMissing},
		// By one server's reading or another each of these has two keys.
		{"two parameters, between them a semicolon", query, "/?api_key=good-1;api_key=x", nil, "", apikey.ReasonInvalid},
		{"a parameter in another case", query, "/?API_KEY=x&api_key=good-1", nil, "", apikey.ReasonInvalid},
		{"a parameter of an array", query, "/?api_key[]=x&api_key=good-1", nil, "", apikey.ReasonInvalid},
		{"a parameter with a dot", query, "/?api.key=x&api_key=good-1", nil, "", apikey.ReasonInvalid},
		{"a parameter behind a semicolon beside a header", either, "/?a;api_key=x", policytest.Headers("x-api-key", "good-1"), "", apikey.ReasonInvalid},
		{"a parameter that cannot be decoded beside a header", either, "/?api_key=%zz", policytest.Headers("x-api-key", "good-1"), "", apikey.ReasonInvalid},
		{"a header with _ for -", header, "/", policytest.Headers("x_api_key", "x", "x-api-key", "good-1"), "", apikey.ReasonInvalid},
		{"a header with _ for - alone", header, "/", policytest.Headers("x_api_key", "good-1"), "", apikey.ReasonMissing},
		{"a key that is far too long", header, "/", policytest.Headers("x-api-key", strings.Repeat("x", 1<<20)), "", apikey.ReasonInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := policytest.New(t, apikey.Policy, tt.place+keys)
			x := p.Send(t, policytest.Request{Target: tt.target, Headers: tt.headers})
			if tt.reason != "" {
				x.WantRejected(t, 401, tt.reason)
				return
			}
			x.WantPassed(t)
			if got := x.Request.Principal(); got == nil || got.Subject != tt.subject {
				t.Errorf("the principal is %+v, want %q", got, tt.subject)
			}
		})
	}
}

// TestEveryBitOfTheHashCounts proves that a hash with any one bit changed is another.
func TestEveryBitOfTheHashCounts(t *testing.T) {
	params := "header: x-api-key\nkeys:\n"
	for bit := range 8 * sha256.Size {
		sum := sha256.Sum256([]byte("good"))
		sum[bit/8] ^= 1 << (bit % 8)
		params += fmt.Sprintf("- {id: %q, sha256: %q}\n", fmt.Sprint("bit ", bit), hex.EncodeToString(sum[:]))
	}
	p := policytest.New(t, apikey.Policy, params)
	p.Send(t, policytest.Request{Headers: policytest.Headers("x-api-key", "good")}).WantRejected(t, 401, apikey.ReasonInvalid)
}

func TestTheUpstreamDoesNotSeeTheKey(t *testing.T) {
	request := policytest.Request{Target: "/p?a=%7e&api_key=good-1&b", Headers: policytest.Headers("accept", "*/*")}
	p := policytest.New(t, apikey.Policy, "query: api_key\n"+keys)
	if got := p.Send(t, request).Request.Target(); got != "/p?a=%7e&b" {
		t.Errorf("the upstream sees the target %q", got)
	}
	p = policytest.New(t, apikey.Policy, "query: api_key\nforwardKey: true\n"+keys)
	if got := p.Send(t, request).Request.Target(); got != request.Target {
		t.Errorf("with forwardKey the upstream sees the target %q", got)
	}

	request = policytest.Request{Headers: policytest.Headers("x-api-key", "good-1")}
	p = policytest.New(t, apikey.Policy, "header: x-api-key\n"+keys)
	if got := p.Send(t, request).RequestChanges(); !slices.Equal(got, []string{"remove x-api-key"}) {
		t.Errorf("the changes are %q", got)
	}
	p = policytest.New(t, apikey.Policy, "header: x-api-key\nforwardKey: true\n"+keys)
	if got := p.Send(t, request).RequestChanges(); len(got) != 0 {
		t.Errorf("with forwardKey the changes are %q", got)
	}
}

// TestTheIDCannotBeSpoofed proves that the upstream sees the one id that was proven.
func TestTheIDCannotBeSpoofed(t *testing.T) {
	p := policytest.New(t, apikey.Policy, "header: x-api-key\nidHeader: X-Key-ID\n"+keys)
	x := p.Send(t, policytest.Request{Headers: policytest.Headers("X-Key-Id", "admin", "x-api-key", "good-2", "x-key-id", "root")})
	x.WantPassed(t)
	if got := slices.Collect(x.Request.Headers().Values("x-key-id")); !slices.Equal(got, []string{"mobile"}) {
		t.Errorf("the upstream sees the ids %q", got)
	}
}

func TestTheAnswer(t *testing.T) {
	p := policytest.New(t, apikey.Policy, "header: x-api-key\nquery: api_key\n"+keys)
	ir := p.Send(t, policytest.Request{}).Immediate
	want := `{"title":"Unauthorized","status":401,"detail":"An API key is required.","reason":"API_KEY_MISSING"}`
	if got := string(ir.Body); got != want {
		t.Errorf("the body is %s, want %s", got, want)
	}
	var headers []string
	for _, h := range ir.Headers {
		headers = append(headers, h.Name+": "+h.Value)
	}
	if want := []string{
		"content-type: application/problem+json",
		`www-authenticate: ApiKey in="header", name="x-api-key"`,
		`www-authenticate: ApiKey in="query", name="api_key"`,
	}; !slices.Equal(headers, want) {
		t.Errorf("the headers are %q, want %q", headers, want)
	}
}

// TestRefusedByTheSchema proves that policy.yaml says what parameters look like.
func TestRefusedByTheSchema(t *testing.T) {
	good := `keys: [{id: a, sha256: "` + hash("1") + `"}]`
	for _, tt := range []struct{ name, params, want string }{
		{"no place", good, "one of these fields is required: header, query"},
		{"no keys", `header: x-api-key`, "keys: missing"},
		{"an empty list of keys", `{header: x-api-key, keys: []}`, "keys: too few items"},
		{"no header name", "header: a b\n" + good, "header: not of the form header-name"},
		{"a parameter that would have to be encoded", "query: a b\n" + good, "query: not of the right form"},
		{"a hash of another length", `{header: x-api-key, keys: [{id: a, sha256: abc}]}`, "keys[0].sha256: not of the right form"},
		{"no id", `{header: x-api-key, keys: [{sha256: "` + hash("1") + `"}]}`, "keys[0].id: missing"},
		{"an unknown field", "header: x-api-key\nstrip: false\n" + good, "strip: unknown field"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := policytest.NewError(t, apikey.Policy, tt.params); !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q is not in the error:\n%v", tt.want, err)
			}
		})
	}
}

// TestRefusedByNew proves that New does not rely on the schema alone, and tells
// everything at once, without the hashes.
func TestRefusedByNew(t *testing.T) {
	h1, h2 := hash("1"), hash("2")
	_, err := apikey.New(apikey.Params{
		Header: "connection", Query: "a b", IDHeader: "host",
		Keys: []apikey.Key{
			{ID: "a", SHA256: h1}, {ID: "a", SHA256: h2}, {ID: "b", SHA256: strings.ToUpper(h1)}, {SHA256: "abc"},
			{ID: "x\ny", SHA256: strings.Repeat("g", 64)}, {ID: "empty", SHA256: hash("")},
		},
	}, policy.Host{})
	if err == nil {
		t.Fatal("accepted")
	}
	want := []string{
		`keys[1].id: "a" is the id of keys[0] already`,
		`keys[2].sha256: it is the hash of keys[0] already`,
		`keys[3].id: it is empty or has control characters`,
		`keys[3].sha256: it has 3 characters, not 64 hexadecimal digits`,
		`keys[4].id: it is empty or has control characters`,
		`keys[4].sha256: it has other characters than hexadecimal digits`,
		`keys[5].sha256: it is the hash of the empty string`,
		`header: "connection" belongs to one connection (RFC 9110, section 7.6.1), not to the message`,
		"query: \"a b\" has other characters than letters, digits and !#$%&'*+-.^_`|~",
		`idHeader: "host" is the authority: change it by the action's Authority`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
	if s := strings.ToLower(err.Error()); strings.Contains(s, h1) || strings.Contains(s, h2) {
		t.Errorf("the error tells a hash:\n%v", err)
	}

	_, err = apikey.New(apikey.Params{}, policy.Host{})
	if diff := cmp.Diff("keys: at least one is needed\nheader, query: give at least one of them, so that the key can be found", fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
	_, err = apikey.New(apikey.Params{Header: "x-a", IDHeader: "x-a", Keys: []apikey.Key{{ID: "a", SHA256: h1}}}, policy.Host{})
	if diff := cmp.Diff(`idHeader: "x-a" is the header of the key`, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
}

func TestNothingIsLogged(t *testing.T) {
	p := policytest.New(t, apikey.Policy, "header: x-api-key\n"+keys)
	for _, key := range []string{"good-1", "bad", ""} {
		p.Send(t, policytest.Request{Headers: policytest.Headers("x-api-key", key)})
	}
	if got := p.Host.Logs.String(); got != "" {
		t.Errorf("it logged %q", got)
	}
}

func TestARequestCostsNoAllocation(t *testing.T) {
	p := policytest.New(t, apikey.Policy, "header: x-api-key\n"+keys)
	v := p.Instance.(*apikey.Validator)
	for _, key := range []string{"good-2", "a key of quite some length, as keys that are made by a machine are", ""} {
		x := policytest.New(t, apikey.Policy, "header: x-other\n"+keys).Send(t, policytest.Request{Headers: policytest.Headers("x-api-key", key)})
		ctx := context.Background()
		if n := testing.AllocsPerRun(100, func() {
			if _, err := v.OnRequestHeaders(ctx, &x.Request); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("key of length %d: %v allocations", len(key), n)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			params := "header: x-api-key\nforwardKey: true\nkeys:\n"
			for i := range n {
				params += fmt.Sprintf("- {id: k%d, sha256: %q}\n", i, hash(fmt.Sprint(i)))
			}
			p := policytest.New(b, apikey.Policy, params)
			x := p.Send(b, policytest.Request{Headers: policytest.Headers("x-api-key", "0")})
			v := p.Instance.(*apikey.Validator)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.OnRequestHeaders(b.Context(), &x.Request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
