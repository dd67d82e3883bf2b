package expr_test

import (
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"

	"policyengine.dev/sdk/expr"
)

// TestWaysAgree draws expressions and inputs by a fixed seed, and evaluates each
// pair in three ways: as a policy would, by the interpreter alone, and by a plain
// cel-go environment over plain Go maps. All have to agree, so that neither the
// quick way nor the views over the input are another language than CEL.
func TestWaysAgree(t *testing.T) {
	random := rand.NewChaCha8([32]byte{'c', 'e', 'l'})
	bytes := func(n int) []byte {
		b := make([]byte, n)
		random.Read(b)
		return b
	}
	plain := plainEnvironment(t)
	seen := map[string]int{}
	for range 1500 {
		text := (&generator{rest: bytes(60)}).boolean(3)
		p, err := expr.Compile(text)
		if err != nil {
			seen["refused"]++
			continue
		}
		// Plain maps know of no case: names are written as they are stored.
		checked, issues := plain.Compile(strings.NewReplacer(`["B"]`, `["b"]`, `[?"C"]`, `[?"c"]`).Replace(text))
		if issues.Err() != nil {
			t.Fatalf("%s: %v", text, issues.Err())
		}
		reference, err := plain.Program(checked)
		if err != nil {
			t.Fatal(err)
		}
		for range 6 {
			in := (&generator{rest: bytes(200)}).input()
			got, gotErr := p.Eval(in)
			want, wantErr := p.Interpret(in)
			if got != want || message(gotErr) != message(wantErr) {
				t.Fatalf("%s\nover %+v\nquick way: %v, %v\ninterpreter: %v, %v", text, in, got, gotErr, want, wantErr)
			}
			out, _, plainErr := reference.Eval(plainInput(in))
			if (plainErr == nil) != (gotErr == nil) || plainErr == nil && out.Value() != got {
				t.Fatalf("%s\nover %+v\nhere: %v, %v\nplain cel-go: %v, %v", text, in, got, gotErr, out, plainErr)
			}
			switch {
			case gotErr != nil:
				seen["error"]++
			case got:
				seen["true"]++
			default:
				seen["false"]++
			}
			if p.Quick() {
				seen["quick"]++
			}
		}
		checkCost(t, p, (&generator{rest: bytes(200)}).input())
	}
	t.Log(seen)
	for _, kind := range []string{"error", "true", "false", "quick"} {
		if seen[kind] < 500 {
			t.Errorf("only %d cases are %s: the test has lost its point", seen[kind], kind)
		}
	}
}

// checkCost holds what the interpreter spends to what was estimated. cel-go's
// estimate takes a selection within a dyn value for free, and its meter does not:
// hence the factor.
func checkCost(t *testing.T, p *expr.Program, in expr.Input) {
	t.Helper()
	spent, err := p.Spend(in)
	if err != nil {
		t.Fatal(err)
	}
	if most, known := p.Cost(); known && spent > 2*most+10 {
		t.Fatalf("%s\nover %+v\nspent %d, estimated were %d at most", p.Source(), in, spent, most)
	}
}

func plainEnvironment(t *testing.T) *cel.Env {
	t.Helper()
	opts := []cel.EnvOption{cel.OptionalTypes(cel.OptionalTypesVersion(0)), ext.Strings(ext.StringsVersion(5))}
	for name, typ := range map[string]*cel.Type{
		"request.headers": cel.MapType(cel.StringType, cel.StringType), "response.headers": cel.MapType(cel.StringType, cel.StringType),
		"request.params": cel.MapType(cel.StringType, cel.ListType(cel.StringType)), "auth.scopes": cel.ListType(cel.StringType),
		"auth.claims": cel.MapType(cel.StringType, cel.DynType), "metadata": cel.MapType(cel.StringType, cel.DynType),
		"attributes": cel.MapType(cel.StringType, cel.DynType), "response.status": cel.IntType, "auth.authenticated": cel.BoolType,
		"request.method": cel.StringType, "request.scheme": cel.StringType, "request.authority": cel.StringType,
		"request.host": cel.StringType, "request.path": cel.StringType, "request.url_path": cel.StringType,
		"request.query": cel.StringType, "request.id": cel.StringType, "auth.subject": cel.StringType, "auth.issuer": cel.StringType,
		"route.name": cel.StringType,
	} {
		opts = append(opts, cel.Variable(name, typ))
	}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// plainInput has the variables as plain Go maps, made of an input in the plainest
// way.
func plainInput(in *expr.Static) map[string]any {
	path, query, _ := strings.Cut(in.RequestTarget, "?")
	request, response := plainHeaders(in.RequestFields), plainHeaders(in.ResponseFields)
	return map[string]any{
		"request.headers": request, "response.headers": response, "request.params": plainParams(query),
		"auth.scopes": append([]string{}, in.Scopes()...), "auth.claims": plainDocument(in.Claims()),
		"metadata": plainDocument(in.Entries), "attributes": plainDocument(in.EnvoyAttributes),
		"response.status": in.ResponseStatus, "auth.authenticated": in.Authenticated(),
		"request.method": in.RequestMethod, "request.scheme": in.RequestScheme, "request.authority": in.RequestAuthority,
		"request.host": map[string]string{"a": "a", "A:80": "a", "[::1]:80": "[::1]", "u@B": "b", "": ""}[in.RequestAuthority],
		"request.path": path, "request.url_path": path, "request.query": query, "request.id": request.header("x-request-id"),
		"auth.subject": in.Subject(), "auth.issuer": in.Issuer(), "route.name": in.RouteName,
	}
}

type plainMap map[string]string

func (m plainMap) header(name string) string { return m[name] }

func plainHeaders(fields expr.Fields) plainMap {
	all := plainMap{}
	for _, f := range fields {
		sep := ","
		if f.Name == "cookie" {
			sep = "; "
		}
		if before, ok := all[f.Name]; ok {
			all[f.Name] = before + sep + f.Value
		} else {
			all[f.Name] = f.Value
		}
	}
	return all
}

func plainParams(query string) map[string][]string {
	all := map[string][]string{}
	for _, pair := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if pair == "" {
			continue
		}
		name, errName := url.QueryUnescape(name)
		value, errValue := url.QueryUnescape(value)
		if errName == nil && errValue == nil {
			all[name] = append(all[name], value)
		}
	}
	return all
}

func plainDocument(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
