package claims_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/strictjson"
	"policyengine.dev/sdk/policy"
)

const now = 1_000_000_000

func all(t testing.TB, text string) map[string]any {
	t.Helper()
	m, _, err := strictjson.Object(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRules(t *testing.T) {
	clock := func() time.Time { return time.Unix(now, 0) }
	strict := claims.NewRules("me", []string{"a", "b"}, claims.Rules{Now: clock})
	lenient := claims.NewRules("me", nil, claims.Rules{Now: clock, Leeway: 10 * time.Second})
	aged := claims.NewRules("me", nil, claims.Rules{Now: clock, Leeway: 10 * time.Second, MaxAge: time.Minute})
	required := claims.NewRules("me", nil, claims.Rules{Now: clock, Required: []claims.Requirement{
		{Claim: claims.Path{"tenant"}, OneOf: []any{"x", 7.0, true}},
		{Claim: claims.Path{"deep", "er"}},
	}})
	for _, c := range []struct {
		name   string
		rules  *claims.Rules
		claims string
		want   error
	}{
		{"all is well", strict, `{"iss":"me","aud":"a","exp":1000000001,"nbf":1000000000,"iat":1000000000}`, nil},
		{"several audiences, one of them right", strict, `{"iss":"me","aud":["x","b"],"exp":1000000001}`, nil},
		{"a fraction of a second left", strict, `{"iss":"me","aud":"a","exp":1000000000.5}`, nil},

		{"another issuer", strict, `{"iss":"you","aud":"a","exp":1000000001}`, claims.ErrIssuer},
		{"an issuer with a slash more", strict, `{"iss":"me/","aud":"a","exp":1000000001}`, claims.ErrIssuer},
		{"an issuer in another case", strict, `{"iss":"Me","aud":"a","exp":1000000001}`, claims.ErrIssuer},
		{"no issuer", strict, `{"aud":"a","exp":1000000001}`, claims.ErrIssuer},
		{"an empty issuer", strict, `{"iss":"","aud":"a","exp":1000000001}`, claims.ErrIssuer},
		{"another issuer, and expired", strict, `{"iss":"you","aud":"a","exp":1}`, claims.ErrIssuer},
		{"another audience", strict, `{"iss":"me","aud":"c","exp":1000000001}`, claims.ErrAudience},
		{"other audiences", strict, `{"iss":"me","aud":["c","A","a "],"exp":1000000001}`, claims.ErrAudience},
		{"no audience", strict, `{"iss":"me","exp":1000000001}`, claims.ErrAudience},
		{"no audience in the list", strict, `{"iss":"me","aud":[],"exp":1000000001}`, claims.ErrAudience},
		{"another audience, and expired", strict, `{"iss":"me","aud":"c","exp":1}`, claims.ErrAudience},
		{"expired this second", strict, `{"iss":"me","aud":"a","exp":1000000000}`, claims.ErrExpired},
		{"expired long ago", strict, `{"iss":"me","aud":"a","exp":0}`, claims.ErrExpired},
		{"no expiry", strict, `{"iss":"me","aud":"a"}`, claims.ErrMissing},
		{"not valid yet", strict, `{"iss":"me","aud":"a","exp":1000000009,"nbf":1000000001}`, claims.ErrNotYetValid},
		{"issued in the future", strict, `{"iss":"me","aud":"a","exp":1000000009,"iat":1000000001}`, claims.ErrNotYetValid},

		{"any audience, where none is asked for", lenient, `{"iss":"me","aud":"z","exp":1000000001}`, nil},
		{"no audience, where none is asked for", lenient, `{"iss":"me","exp":1000000001}`, nil},
		{"expired within the leeway", lenient, `{"iss":"me","exp":999999991}`, nil},
		{"expired before the leeway", lenient, `{"iss":"me","exp":999999990}`, claims.ErrExpired},
		{"not valid yet within the leeway", lenient, `{"iss":"me","exp":1000000099,"nbf":1000000010,"iat":1000000010}`, nil},
		{"not valid after the leeway", lenient, `{"iss":"me","exp":1000000099,"nbf":1000000011}`, claims.ErrNotYetValid},
		{"issued after the leeway", lenient, `{"iss":"me","exp":1000000099,"iat":1000000011}`, claims.ErrNotYetValid},

		{"old, within the leeway", aged, `{"iss":"me","exp":1000000099,"iat":999999930}`, nil},
		{"too old", aged, `{"iss":"me","exp":1000000099,"iat":999999929}`, claims.ErrTooOld},
		{"of unknown age", aged, `{"iss":"me","exp":1000000099}`, claims.ErrMissing},

		{"required claims", required, `{"iss":"me","exp":1000000001,"tenant":"x","deep":{"er":false}}`, nil},
		{"a number", required, `{"iss":"me","exp":1000000001,"tenant":7,"deep":{"er":0}}`, nil},
		{"a boolean", required, `{"iss":"me","exp":1000000001,"tenant":true,"deep":{"er":""}}`, nil},
		{"a list with one of the values", required, `{"iss":"me","exp":1000000001,"tenant":[{},[],"x"],"deep":{"er":{}}}`, nil},
		{"another value", required, `{"iss":"me","exp":1000000001,"tenant":"y","deep":{"er":1}}`, claims.ErrValue},
		{"a value of another type", required, `{"iss":"me","exp":1000000001,"tenant":"7","deep":{"er":1}}`, claims.ErrValue},
		{"an object", required, `{"iss":"me","exp":1000000001,"tenant":{"x":"x"},"deep":{"er":1}}`, claims.ErrValue},
		{"a list in a list", required, `{"iss":"me","exp":1000000001,"tenant":[["x"]],"deep":{"er":1}}`, claims.ErrValue},
		{"an empty list", required, `{"iss":"me","exp":1000000001,"tenant":[],"deep":{"er":1}}`, claims.ErrValue},
		{"a missing claim", required, `{"iss":"me","exp":1000000001,"deep":{"er":1}}`, claims.ErrMissing},
		{"null", required, `{"iss":"me","exp":1000000001,"tenant":null,"deep":{"er":1}}`, claims.ErrMissing},
		{"a missing claim deeper", required, `{"iss":"me","exp":1000000001,"tenant":"x","deep":{}}`, claims.ErrMissing},
		{"no object where one leads on", required, `{"iss":"me","exp":1000000001,"tenant":"x","deep":"er"}`, claims.ErrMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := claims.New(all(t, c.claims))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.rules.Check(set); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// Registered claims of a wrong type are refused, not passed over.
func TestTypes(t *testing.T) {
	for name, text := range map[string]string{
		"iss as a number":             `{"iss":1}`,
		"iss as null":                 `{"iss":null}`,
		"iss as a list":               `{"iss":["me"]}`,
		"sub as a number":             `{"sub":1}`,
		"aud as a number":             `{"aud":1}`,
		"aud as an object":            `{"aud":{}}`,
		"aud as null":                 `{"aud":null}`,
		"a number among the aud":      `{"aud":["a",1]}`,
		"exp as a string":             `{"exp":"1000000001"}`,
		"exp as null":                 `{"exp":null}`,
		"exp before 1970":             `{"exp":-1}`,
		"exp after the year 9999":     `{"exp":253402300800}`,
		"exp as large as numbers are": `{"exp":1e308}`,
		"nbf as a string":             `{"nbf":"0"}`,
		"nbf before 1970":             `{"nbf":-1e308}`,
		"iat as a boolean":            `{"iat":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := claims.New(all(t, text)); !errors.Is(err, claims.ErrType) {
				t.Errorf("%v, want ErrType", err)
			}
		})
	}
}

func TestUntil(t *testing.T) {
	for _, c := range []struct {
		claims string
		maxAge time.Duration
		want   int64
	}{
		{`{"exp":2000}`, 0, 2000},
		{`{"exp":2000,"iat":1000}`, 0, 2000},
		{`{"exp":2000,"iat":1000}`, time.Minute, 1060},
		{`{"exp":2000,"iat":1000}`, time.Hour, 2000},
	} {
		set, err := claims.New(all(t, c.claims))
		if err != nil {
			t.Fatal(err)
		}
		r := claims.NewRules("", nil, claims.Rules{MaxAge: c.maxAge, Leeway: time.Hour, Now: time.Now})
		if got := r.Until(set).Unix(); got != c.want {
			t.Errorf("%s with a maximal age of %s: until %d, want %d", c.claims, c.maxAge, got, c.want)
		}
	}
}

func TestScopes(t *testing.T) {
	for name, c := range map[string]struct {
		claims string
		want   []string
	}{
		"none":                     {`{}`, nil},
		"a string":                 {`{"scope":"a b:c"}`, []string{"a", "b:c"}},
		"spaces":                   {`{"scope":"  a  b "}`, []string{"a", "b"}},
		"a list":                   {`{"scp":["a","b"]}`, []string{"a", "b"}},
		"both the other way round": {`{"scope":["a"],"scp":"b c"}`, []string{"a", "b", "c"}},
		"other types":              {`{"scope":1,"scp":[1,null,"",["x"],"two words","a"]}`, []string{"a"}},
		"an object":                {`{"scope":{"a":"b"},"scp":true}`, nil},
	} {
		set, err := claims.New(all(t, c.claims))
		if err != nil {
			t.Fatal(err)
		}
		if got := set.Scopes(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Numbers are compared as they are written, not as doubles.
func TestNumbersInRequirements(t *testing.T) {
	for _, c := range []struct {
		oneOf, claim string
		want         error
	}{
		{"9007199254740993", "9007199254740993", nil},
		{"9007199254740993", "9007199254740992", claims.ErrValue},
		{"9007199254740992", "9007199254740993", claims.ErrValue},
		{"-9007199254740993", "-9007199254740992", claims.ErrValue},
		{"18446744073709551617", "18446744073709551616", claims.ErrValue},
		{"7", "7", nil}, {"7", "7.0", nil}, {"7.0", "7", nil}, {"0.1", "0.1", nil}, {"1e3", "1000", nil},
		{"7", "7.00000000000000001", claims.ErrValue},
		{"0.1", "0.10000000000000001", claims.ErrValue},
		{"0", "1e-400", claims.ErrValue},
		{"9007199254740993", "[1, 9007199254740993]", nil},
		{"9007199254740993", "[1, 9007199254740992]", claims.ErrValue},
		{"9007199254740993", `"9007199254740993"`, claims.ErrValue},
		{`"9007199254740993"`, "9007199254740993", claims.ErrValue},
	} {
		var required []claims.Requirement
		if err := json.Unmarshal(fmt.Appendf(nil, `[{"claim":"n","oneOf":[%s]}]`, c.oneOf), &required); err != nil {
			t.Fatal(err)
		}
		rules := claims.NewRules("me", nil, claims.Rules{Now: func() time.Time { return time.Unix(now, 0) }, Required: required})
		set, err := claims.New(all(t, fmt.Sprintf(`{"iss":"me","exp":%d.12345678901,"n":%s}`, now+60, c.claim)))
		if err != nil {
			t.Fatal(err)
		}
		if err := rules.Check(set); !errors.Is(err, c.want) {
			t.Errorf("one of %s, %s: %v, want %v", c.oneOf, c.claim, err, c.want)
		}
	}
	if err := json.Unmarshal([]byte(`[{"claim":"n","oneOf":[1e999]}]`), new([]claims.Requirement)); err == nil {
		t.Error("a number that no token can have is taken")
	}
}

func TestHeaders(t *testing.T) {
	mappings := []claims.Mapping{{Claim: claims.Path{"c"}, Header: "x-c"}, {Claim: claims.Path{"o", "c"}, Header: "x-oc"}}
	for _, c := range []struct {
		name, claims string
		set          []policy.Header
		err          error
	}{
		{"strings", `{"c":"v","o":{"c":"ü"}}`, []policy.Header{{Name: "x-c", Value: "v"}, {Name: "x-oc", Value: "ü"}}, nil},
		{"nothing", `{}`, nil, nil},
		{"null, and no object", `{"c":null,"o":"c"}`, nil, nil},
		{"empty", `{"c":"","o":{"c":[]}}`, nil, nil},
		{"numbers", `{"c":7,"o":{"c":-1.25}}`, []policy.Header{{Name: "x-c", Value: "7"}, {Name: "x-oc", Value: "-1.25"}}, nil},
		{"a large integer", `{"c":9007199254740991,"o":{"c":1e3}}`, []policy.Header{{Name: "x-c", Value: "9007199254740991"}, {Name: "x-oc", Value: "1000"}}, nil},
		{"booleans", `{"c":true,"o":{"c":false}}`, []policy.Header{{Name: "x-c", Value: "true"}, {Name: "x-oc", Value: "false"}}, nil},
		{"lists", `{"c":["a","b c"],"o":{"c":[1,true]}}`, []policy.Header{{Name: "x-c", Value: "a,b c"}, {Name: "x-oc", Value: "1,true"}}, nil},
		{"a comma", `{"c":"a,b"}`, []policy.Header{{Name: "x-c", Value: "a,b"}}, nil},

		{"an object", `{"c":{}}`, nil, claims.ErrUnprintable},
		{"a list in a list", `{"c":[["a"]]}`, nil, claims.ErrUnprintable},
		{"an object in a list", `{"c":[{}]}`, nil, claims.ErrUnprintable},
		{"a comma in a list", `{"c":["a","b,c"]}`, nil, claims.ErrUnprintable},
		{"an empty string in a list", `{"c":["a",""]}`, nil, claims.ErrUnprintable},
		{"null in a list", `{"c":[null]}`, nil, claims.ErrUnprintable},
		{"a line break", `{"c":"a\r\nx-admin: true"}`, nil, claims.ErrUnprintable},
		{"a line feed in a list", `{"c":["a\nb"]}`, nil, claims.ErrUnprintable},
		{"a NUL", `{"c":"a\u0000"}`, nil, claims.ErrUnprintable},
		{"a tab", `{"c":"a\tb"}`, nil, claims.ErrUnprintable},
		{"DEL", `{"c":"a\u007f"}`, nil, claims.ErrUnprintable},
		{"a space at the start", `{"c":" a"}`, nil, claims.ErrUnprintable},
		{"a space at the end", `{"c":"a "}`, nil, claims.ErrUnprintable},
		{"integers that a float64 cannot hold", `{"c":9007199254740993,"o":{"c":[12345678901234567890]}}`, []policy.Header{{Name: "x-c", Value: "9007199254740993"}, {Name: "x-oc", Value: "12345678901234567890"}}, nil},
		{"a number with too many zeros", `{"c":1e21}`, nil, claims.ErrUnprintable},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := claims.Headers(mappings, all(t, c.claims))
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if !slices.Equal(set, c.set) {
				t.Errorf("set %v, want %v", set, c.set)
			}
		})
	}
}

func TestCheckMappings(t *testing.T) {
	problems := claims.CheckMappings([]claims.Mapping{
		{Claim: claims.Path{"a"}, Header: "x-a"},
		{Header: "x-b"},
		{Claim: claims.Path{"a"}, Header: "host"},
		{Claim: claims.Path{"a"}},
		{Claim: claims.Path{"b"}, Header: "x-a"},
		{Claim: claims.Path{"a"}, Header: "authorization"},
		{Claim: claims.Path{"a"}, Header: "x_token"},
	}, []string{"authorization", "x-token"})
	want := []string{
		`[1].claim: it is missing`,
		`[2].header: "host" is the authority: change it by the action's Authority`,
		"[3].header: \"\" is not a header name: it consists of letters, digits and !#$%&'*+-.^_`|~",
		`[4].header: "x-a" already has another claim`,
		`[5].header: "authorization" also carries the token (authorization)`,
		`[6].header: "x_token" also carries the token (x-token)`,
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Error())
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestCheckRequirements(t *testing.T) {
	problems := claims.CheckRequirements([]claims.Requirement{
		{Claim: claims.Path{"a"}, OneOf: []any{"a", 1.0, true}},
		{OneOf: []any{nil, []any{}, map[string]any{}}},
	})
	if len(problems) != 4 {
		t.Errorf("%d problems, want 4: %v", len(problems), problems)
	}
}

func TestPath(t *testing.T) {
	for text, want := range map[string]claims.Path{
		`"sub"`:                             {"sub"},
		`"https://example.com/roles"`:       {"https://example.com/roles"},
		`["realm_access","roles"]`:          {"realm_access", "roles"},
		`""`:                                nil,
		`[]`:                                nil,
		`["a",""]`:                          nil,
		`null`:                              nil,
		`7`:                                 nil,
		`{"a":"b"}`:                         nil,
		`["a",1]`:                           nil,
		`"` + string(make([]byte, 1)) + `"`: nil,
	} {
		var p claims.Path
		err := json.Unmarshal([]byte(text), &p)
		if (err == nil) != (want != nil) || !slices.Equal(p, want) {
			t.Errorf("%s: %q, %v; want %q", text, p, err, want)
		}
	}
}
