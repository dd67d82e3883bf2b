package bearer_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policy/apply"
)

var (
	authorization = bearer.Source{Header: "authorization", Scheme: "Bearer"}
	whole         = bearer.Source{Header: "x-token"}
	query         = bearer.Source{Query: "access_token"}
	cookie        = bearer.Source{Cookie: "session"}
	every         = []bearer.Source{authorization, whole, query, cookie}
	places        = bearer.Places(every)
)

// request has a path, and headers of which each is "name: value".
func request(path string, headers ...string) *exchange.Exchange {
	x := &exchange.Exchange{}
	x.Request.Path = path
	var fields []exchange.Field
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		fields = append(fields, exchange.Field{Name: name, Value: value})
	}
	x.Request.Headers.Reset(fields)
	return x
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name string
		x    *exchange.Exchange
		want string
		err  error
	}{
		{"a bearer token", request("/", "authorization: Bearer abc"), "abc", nil},
		{"the scheme in another case", request("/", "authorization: bEARER abc"), "abc", nil},
		{"several spaces", request("/", "authorization:  Bearer   abc  "), "abc", nil},
		{"a whole header", request("/", "x-token: abc"), "abc", nil},
		{"a query parameter", request("/?a=b&access_token=abc"), "abc", nil},
		{"an encoded query parameter", request("/?access%5Ftoken=a%62c"), "abc", nil},
		{"a cookie", request("/", "cookie: a=b; session=abc; c=d"), "abc", nil},
		{"a cookie in a second field", request("/", "cookie: a=b", "cookie: session=abc"), "abc", nil},
		{"a cookie in quotation marks", request("/", `cookie: session="abc"`), "abc", nil},
		{"a cookie with an equals sign", request("/", `cookie: session=a=c`), "a=c", nil},
		{"another scheme beside a cookie", request("/", "authorization: Basic abc", "cookie: session=def"), "def", nil},
		{"an empty cookie beside a query parameter", request("/?access_token=abc", "cookie: session="), "abc", nil},

		{"another scheme with a comma beside a cookie", request("/", `authorization: Digest a="b", c=d`, "cookie: session=def"), "def", nil},
		{"an empty header beside a cookie", request("/", "x-token: ", "cookie: session=def"), "def", nil},

		{"nothing", request("/?", "cookie: a=b"), "", bearer.ErrNone},
		{"another scheme", request("/", "authorization: Basic abc"), "", bearer.ErrNone},
		{"a scheme that begins alike", request("/", "authorization: BearerX abc"), "", bearer.ErrNone},
		{"a token without the scheme", request("/", "authorization: abc"), "", bearer.ErrNone},
		{"the scheme alone", request("/", "authorization: Bearer"), "", bearer.ErrNone},
		{"the scheme and a space", request("/", "authorization: Bearer "), "", bearer.ErrNone},
		{"the scheme and a tab", request("/", "authorization: Bearer\tabc"), "", bearer.ErrNone},
		{"empty values", request("/?access_token=", "x-token: ", "cookie: session="), "", bearer.ErrNone},
		{"a cookie in another case", request("/", "cookie: Session=abc"), "", bearer.ErrNone},
		{"a cookie without a value", request("/", "cookie: session"), "", bearer.ErrNone},
		{"a query parameter that cannot be decoded", request("/?access_token=%zz"), "", bearer.ErrNone},

		{"two authorization headers", request("/", "authorization: Bearer abc", "authorization: Bearer abc"), "", bearer.ErrSeveral},
		{"two authorization headers, one of another scheme", request("/", "authorization: Basic abc", "authorization: Bearer abc"), "", bearer.ErrSeveral},
		{"two authorization headers, one empty", request("/", "authorization: Bearer abc", "authorization: "), "", bearer.ErrSeveral},
		{"two query parameters", request("/?access_token=abc&access_token=abc"), "", bearer.ErrSeveral},
		{"two query parameters, one encoded", request("/?access_token=abc&access%5ftoken=def"), "", bearer.ErrSeveral},
		{"two query parameters, one that cannot be decoded", request("/?access_token=abc&access_token=%zz"), "", bearer.ErrSeveral},
		{"two cookies", request("/", "cookie: session=abc; session=def"), "", bearer.ErrSeveral},
		{"two cookies in two fields", request("/", "cookie: session=abc", "cookie: session=abc"), "", bearer.ErrSeveral},
		{"two cookies, one empty", request("/", "cookie: session=abc; session="), "", bearer.ErrSeveral},
		// Each of these has one token by the plain reading, or none, and by
		// another server's reading another one.
		{"two authorization headers that Envoy has joined", request("/", "authorization: Bearer abc,Bearer def"), "", bearer.ErrSeveral},
		{"two of two schemes, joined", request("/", "authorization: Basic abc, bearer def"), "", bearer.ErrSeveral},
		{"two whole headers, joined", request("/", "x-token: abc,def"), "", bearer.ErrSeveral},
		{"a header under the name with _", request("/", "x-token: abc", "x_token: def"), "", bearer.ErrSeveral},
		{"a header under the name with _ alone", request("/", "x_token: def"), "", bearer.ErrNone},
		{"a header under the name with _ beside a cookie", request("/", "x_token: def", "cookie: session=abc"), "", bearer.ErrSeveral},
		{"a cookie with a space behind its name", request("/", "cookie: session =def; session=abc"), "", bearer.ErrSeveral},
		{"a cookie behind a space", request("/", "cookie: a=b session=def; session=abc"), "", bearer.ErrSeveral},
		{"a cookie in another case beside it", request("/", "cookie: SESSION=def; session=abc"), "", bearer.ErrSeveral},
		{"an encoded cookie beside it", request("/", "cookie: %73ession=def; session=abc"), "", bearer.ErrSeveral},
		{"an unreadable cookie beside a header", request("/", "cookie: session =def", "x-token: abc"), "", bearer.ErrSeveral},
		{"an unreadable cookie alone", request("/", "cookie: session =def"), "", bearer.ErrNone},
		{"a query parameter behind a semicolon", request("/?access_token=abc;access_token=def"), "", bearer.ErrSeveral},
		{"a query parameter of an array", request("/?access_token=abc&access_token[]=def"), "", bearer.ErrSeveral},
		{"a query parameter with a dot", request("/?access_token=abc&access.token=def"), "", bearer.ErrSeveral},
		{"an unreadable query parameter beside a header", request("/?a;access_token=def", "x-token: abc"), "", bearer.ErrSeveral},
		{"an unreadable query parameter alone", request("/?a;access_token=def"), "", bearer.ErrNone},

		{"a header and a query parameter", request("/?access_token=abc", "authorization: Bearer abc"), "", bearer.ErrSeveral},
		{"a header and a cookie", request("/", "authorization: Bearer abc", "cookie: session=abc"), "", bearer.ErrSeveral},
		{"two headers", request("/", "authorization: Bearer abc", "x-token: abc"), "", bearer.ErrSeveral},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := policy.NewRequestContext(c.x, false)
			got, _, err := bearer.Find(&req, places)
			if got != c.want || err != c.err {
				t.Errorf("%q, %v; want %q, %v", got, err, c.want, c.err)
			}
		})
	}
}

// What Find has found is gone afterwards, and nothing else.
func TestStrip(t *testing.T) {
	for _, c := range []struct {
		name    string
		x       *exchange.Exchange
		path    string
		headers []string
	}{
		{"a header", request("/", "a: b", "authorization: Bearer abc"), "/", []string{"a: b"}},
		{"a header without a scheme", request("/", "x-token: abc", "authorization: Basic x"), "/", []string{"authorization: Basic x"}},
		{"a query parameter", request("/p?a=%20&access_token=abc&b"), "/p?a=%20&b", nil},
		{"the only query parameter, encoded", request("/p?access%5ftoken=abc"), "/p", nil},
		{"a cookie", request("/", "cookie: a=b; session=abc;c", "cookie: d=e"), "/", []string{"cookie: a=b; c; d=e"}},
		{"the only cookie", request("/", "cookie: session=abc"), "/", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := policy.NewRequestContext(c.x, false)
			_, at, err := bearer.Find(&req, places)
			if err != nil {
				t.Fatal(err)
			}
			var m policy.RequestMutation
			places[at].Strip(&req, &m)
			if err := apply.Request(c.x, policy.RequestHeaders, &m); err != nil {
				t.Fatal(err)
			}
			var headers []string
			for name, value := range c.x.Request.Headers.All() {
				headers = append(headers, name+": "+value)
			}
			if d := cmp.Diff(c.headers, headers); d != "" {
				t.Errorf("headers (-want +got)\n%s", d)
			}
			if c.x.Request.Path != c.path {
				t.Errorf("the path is %q, want %q", c.x.Request.Path, c.path)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	if problems := bearer.Check(every); problems != nil {
		t.Errorf("%v", problems)
	}
	var got []string
	for _, p := range bearer.Check([]bearer.Source{
		{}, {Header: "a", Query: "b"}, {Header: "host"}, {Header: "cookie"}, {Query: "q", Scheme: "Bearer"},
		{Header: "h", Scheme: "Bear er"}, {Cookie: "a;b"}, {Cookie: "c"}, {Cookie: "c"}, {Header: "h"},
	}) {
		got = append(got, p.Error())
	}
	want := []string{
		`[0].header, .query, .cookie: give exactly one of them`,
		`[1].header, .query, .cookie: give exactly one of them`,
		`[2].header: "host" is the authority: change it by the action's Authority`,
		`[3].header: use cookie instead of the header cookie`,
		`[4].scheme: it is a word like Bearer, beside a header`,
		`[5].scheme: it is a word like Bearer, beside a header`,
		`[6].cookie: "a;b" is not a cookie's name`,
		`[8]: the same place is named already`,
		`[9]: the same place is named already`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}
