package readings_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"policyengine.dev/policies/internal/readings"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

func TestInQuery(t *testing.T) {
	for _, c := range []struct {
		name, query string
		want        int
	}{
		{"", "", 0}, {"token", "", 0}, {"token", "a=b&c", 0}, {"token", "atoken=1&token2=2&a=token", 0},
		{"token", "token=1", 1}, {"token", "a&token", 1}, {"token", "token=1&token=2", 2},
		{"token", "token=1;token=2", 2}, {"token", "a=1;token=2", 1}, {"token", ";;&;token=2", 1},
		{"token", "t%6fken=1&to%6Ben=2", 2}, {"token", "%u0074oken=1", 1}, {"token", "%u2074oken=1", 0}, {"token", "%zztoken=1", 0}, {"token", "%", 0}, {"token", "toke%6", 0},
		{"token", "TOKEN=1&Token=2", 2},
		{"token", "token[]=1&token[a]=2&token%5B0%5D=3", 3}, {"token", "token%00x=1", 1}, {"token", "%20token=1&token%20=2&+token=3&token+=4", 4},
		{"api_key", "api.key=1&api+key=2&api[key=3&api_key=4", 4}, {"api.key", "api_key=1", 1}, {"api-key", "api_key=1", 0},
		{"token", "%2574oken=1", 0}, {"token", "\u00a0token=1", 1}, {"token", "?token=1", 0},
	} {
		if got := readings.NewName(c.name).InQuery(c.query); got != c.want {
			t.Errorf("%q in %q: %d, want %d", c.name, c.query, got, c.want)
		}
	}
}

func TestInCookies(t *testing.T) {
	for _, c := range []struct {
		cookies string
		want    int
	}{
		{"", 0}, {"a=b; c=d", 0}, {"a=session; sessions=1; xsession=2; session2=3", 0},
		{"session=1", 1}, {"a=b; session=1; c=d", 1}, {"a=b;session=1", 1}, {"session=1; session=2", 2}, {"session=1|session=2", 2},
		{"session =1; session=2", 2}, {"session\t=1", 1}, {" \t session=1", 1}, {"session = 1", 1},
		{"session; session=1", 2}, {"session", 1}, {"a=b; session ; c", 1},
		{"a=b session=1", 1}, {"a=b\vsession=1", 1}, {"a=b,session=1", 1}, {"a=b, session =1", 1},
		{"a=my session is long; b=(session)", 0}, {"a=,session; b=c", 0},
		{`a="x; session=1"; session=2`, 2}, {`a="session=1"`, 1}, {`a="b"session=1`, 1}, {`a="\"session=1"`, 1},
		{"%73ession=1; session=2", 2}, {"Session=1; session=2", 2}, {"session[0]=1; session=2", 2}, {"session%00a=1", 1},
		{"a=b;\u00a0session=1", 1}, {"a=b;\ufeffsession=1", 1}, {"a=/x?session=1&session=2", 0}, {"=session; ==", 0}, {";;;", 0},
		{"$Version=1; session=1; $Path=/", 1},
	} {
		fields := slices.Values(strings.Split(c.cookies, "|"))
		if got := readings.NewName("session").InCookies(fields); got != c.want {
			t.Errorf("%q: %d, want %d", c.cookies, got, c.want)
		}
	}
}

func TestInHeaders(t *testing.T) {
	x := &exchange.Exchange{}
	x.Request.Headers.Reset([]exchange.Field{{Name: "x-token"}, {Name: "x_token"}, {Name: "x-tokens"}, {Name: "xtoken"}})
	req := policy.NewRequestContext(x, false)
	if got := readings.InHeaders(req.Headers(), "x-token"); got != 2 {
		t.Errorf("%d, want 2", got)
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	name, fields := readings.NewName("session"), slices.Values([]string{"a=b; session=1", `c="d"; e`})
	if n := testing.AllocsPerRun(100, func() { name.InQuery("a=b&session=1;c"); name.InCookies(fields) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What a reader that is at hand finds is counted.
func FuzzCookies(f *testing.F) {
	for _, seed := range []string{"session=1; session=2", "session =1", `a="b; session=1"`, "a=b,session=1", "%73ession=1", ";session"} {
		f.Add(seed)
	}
	name := readings.NewName("session")
	f.Fuzz(func(t *testing.T, cookies string) {
		count := name.InCookies(slices.Values([]string{cookies}))
		r := http.Request{Header: http.Header{"Cookie": {cookies}}}
		if found := len(r.CookiesNamed("session")); found > count {
			t.Errorf("net/http finds %d, counted are %d", found, count)
		}
		for reader, found := range map[string]int{"Node": node(cookies), "Django": django(cookies), "PHP, old": decoded(cookies, ";"), "Rack, old": decoded(cookies, ";,")} {
			if found > count {
				t.Errorf("%s finds %d, counted are %d", reader, found, count)
			}
		}
	})
}

// node reads as the npm module cookie: names are trimmed around the first "=" of what
// is between ";".
func node(cookies string) (n int) {
	for pair := range strings.SplitSeq(cookies, ";") {
		if name, _, ok := strings.Cut(pair, "="); ok && strings.Trim(name, " \t\n\v\f\r\u00a0\ufeff") == "session" {
			n++
		}
	}
	return n
}

// django reads as Django: without a "=" all is value.
func django(cookies string) (n int) {
	for pair := range strings.SplitSeq(cookies, ";") {
		if name, _, ok := strings.Cut(pair, "="); ok && strings.TrimSpace(name) == "session" {
			n++
		}
	}
	return n
}

// decoded reads names as percent-encoded. Where "," separates, a name without a value is left
// out: it has no credential, and commas stand in values of other cookies.
func decoded(cookies, separators string) (n int) {
	for _, pair := range strings.FieldsFunc(cookies, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		name, _, hasValue := strings.Cut(strings.TrimLeft(pair, " "), "=")
		if !hasValue && strings.Contains(separators, ",") {
			continue
		}
		if name, err := url.QueryUnescape(name); err == nil && name == "session" {
			n++
		}
	}
	return n
}

// What readers that are at hand find is counted.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"token=1&token=2", "token=1;token=2", "t%6fken", "token[]=1", "%u0074oken=1", "%", "token%00"} {
		f.Add(seed)
	}
	name := readings.NewName("token")
	f.Fuzz(func(t *testing.T, query string) {
		count := name.InQuery(query)
		values, _ := url.ParseQuery(query)
		if found := len(values["token"]); found > count {
			t.Errorf("net/url finds %d, counted are %d", found, count)
		}
		values, _ = url.ParseQuery(strings.ReplaceAll(query, ";", "&"))
		if found := len(values["token"]); found > count {
			t.Errorf("with ; as a separator net/url finds %d, counted are %d", found, count)
		}
		x := &exchange.Exchange{}
		x.Request.Path = "/?" + query
		if found := policy.NewRequestContext(x, false).QueryCount("token"); found > count {
			t.Errorf("the SDK finds %d, counted are %d", found, count)
		}
	})
}
