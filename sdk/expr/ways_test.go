package expr_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"

	"policyengine.dev/sdk/expr"
)

var (
	waysSeed   = flag.Uint64("ways.seed", 1, "seed of TestWaysAgree")
	waysCount  = flag.Int("ways.count", 10_000, "number of expressions that TestWaysAgree draws")
	waysInputs = flag.Int("ways.inputs", 4, "number of inputs that TestWaysAgree draws for each expression")
)

// TestWaysAgree draws expressions and inputs, and evaluates each pair as a policy
// would, by the package's interpreter alone, and by a plain cel-go environment over
// plain Go maps that knows no limits. A result has to be cel-go's. An error has to be
// cel-go's too, unless the input has something that is over the limits.
func TestWaysAgree(t *testing.T) {
	t.Logf("-ways.seed %d -ways.count %d", *waysSeed, *waysCount)
	random := rand.NewChaCha8([32]byte{byte(*waysSeed), byte(*waysSeed >> 8), byte(*waysSeed >> 16), byte(*waysSeed >> 24)})
	bytes := func(n int) []byte {
		b := make([]byte, n)
		random.Read(b)
		return b
	}
	plain := plainEnvironment(t)
	seen := map[string]int{}
	for i := range *waysCount {
		g := &generator{rest: bytes(120)}
		w := ways{t: t, plain: plain, seen: seen}
		var text string
		if i%8 == 0 {
			text = g.text(3)
			w.compileString(text)
		} else {
			text = g.boolean(3)
			w.compileBool(text)
		}
		if w.eval == nil {
			seen["refused"]++
			continue
		}
		w.composite = g.composite
		w.planPlain(text)
		for range *waysInputs {
			w.compare((&generator{rest: bytes(300)}).input())
		}
		if w.program != nil {
			checkCost(t, w.program, (&generator{rest: bytes(300)}).input())
		}
	}
	t.Log(seen)
	for _, kind := range []string{"error", "true", "false", "quick", "over the limits", "over the limits, with a result"} {
		if seen[kind] < *waysCount/10 {
			t.Errorf("only %d cases are %s: the test has lost its point", seen[kind], kind)
		}
	}
	if n := seen["refused"]; n > *waysCount/10 {
		t.Errorf("%d expressions are refused: the test has lost its point", n)
	}
}

// ways are the ways to evaluate one expression.
type ways struct {
	t         *testing.T
	plain     *cel.Env
	seen      map[string]int
	source    string
	quick     bool
	composite bool
	metered   bool
	program   *expr.Program // nil for an expression that gives a string
	eval      func(expr.Input) (any, error)
	interpret func(expr.Input) (any, error)
	reference cel.Program
}

func (w *ways) compileBool(marked string) {
	p, err := expr.Compile(hereText(marked))
	if err != nil {
		w.refused(marked, err)
		return
	}
	_, known := p.Cost()
	w.program, w.source, w.quick, w.metered = p, p.Source(), p.Quick(), !known
	w.eval = func(in expr.Input) (any, error) { v, err := p.Eval(in); return v, err }
	w.interpret = func(in expr.Input) (any, error) { v, err := p.Interpret(in); return v, err }
}

func (w *ways) compileString(marked string) {
	p, err := expr.CompileString(hereText(marked))
	if err != nil {
		w.refused(marked, err)
		return
	}
	_, known := p.Cost()
	w.source, w.quick, w.metered = p.Source(), p.Quick(), !known
	w.eval = func(in expr.Input) (any, error) { v, err := p.Eval(in); return v, err }
	w.interpret = func(in expr.Input) (any, error) { v, err := p.Interpret(in); return v, err }
}

// refused accepts that an expression is refused for its cost or its size, and
// nothing else.
func (w *ways) refused(marked string, err error) {
	for _, why := range []string{"may cost", "more than 32 parentheses", "more than 2000 parts", "longer than", "loops are nested", "cannot be planned", "invalid timestamp argument", "a map literal can only loop", `headers has no ""`} {
		if strings.Contains(err.Error(), why) {
			return
		}
	}
	w.t.Fatalf("%s\n%v", hereText(marked), err)
}

func (w *ways) planPlain(marked string) {
	checked, issues := w.plain.Compile(plainText(marked))
	if issues.Err() != nil {
		w.t.Fatalf("%s: %v", plainText(marked), issues.Err())
	}
	var err error
	if w.reference, err = w.plain.Program(checked); err != nil {
		w.t.Fatal(err)
	}
}

func (w *ways) compare(in *expr.Static) {
	w.t.Helper()
	got, gotErr := w.eval(in)
	again, againErr := w.interpret(in)
	if got != again || message(gotErr) != message(againErr) {
		w.t.Fatalf("%s\nover %+v\nquick way: %v, %v\ninterpreter: %v, %v", w.source, in, got, gotErr, again, againErr)
	}
	large := overLimits(in)
	// A double that is computed can be too large to be compared, whatever the input is.
	spent := w.metered && strings.Contains(message(gotErr), "cost over the limit") || strings.Contains(message(gotErr), "not exact")
	want, _, wantErr := w.reference.Eval(plainInput(in, false))
	if wantErr != nil && strings.Contains(wantErr.Error(), "hash of unhashable type") {
		w.seen["cel-go panics"]++ // bytes that are looked up in a map literal
		return
	}
	differs := gotErr == nil && (wantErr != nil || want.Value() != got) || gotErr != nil && wantErr == nil && !large && !spent
	if large && !differs && !w.composite && !spent {
		// What is over the limits is an error where it is read, and there alone.
		if limited, _, err := w.reference.Eval(plainInput(in, true)); err == nil && (gotErr != nil || limited.Value() != got) {
			differs, want, wantErr = true, limited, err
		}
	}
	if differs {
		w.t.Fatalf("%s\nover %s\nhere: %v, %v\nplain cel-go: %v, %v", w.source, describe(in), got, gotErr, want, wantErr)
	}
	w.count(got, gotErr, large)
}

func (w *ways) count(got any, err error, large bool) {
	switch {
	case err != nil:
		w.seen["error"]++
	case got == true:
		w.seen["true"]++
	case got == false:
		w.seen["false"]++
	default:
		w.seen["string"]++
	}
	if w.quick {
		w.seen["quick"]++
	}
	if large {
		w.seen["over the limits"]++
		if err == nil {
			w.seen["over the limits, with a result"]++
		}
	}
}

// describe prints an input with its long strings cut.
func describe(in *expr.Static) string {
	all := fmt.Sprintf("%+v with the caller %+v", *in, in.Principal)
	return strings.NewReplacer(long, "<long>", half, "<half>", strings.Join(manyStrings, " "), "<many>", strings.Trim(fmt.Sprintf("%+v", manyFields), "[]"), "<many>", fmt.Sprint(manyEntries), "<many>",
		fmt.Sprint(manyList), "<many>", strings.Repeat("a=1&", expr.MaxElements+1), "<many>").Replace(all)
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
	opts := []cel.EnvOption{cel.OptionalTypes(cel.OptionalTypesVersion(1)), ext.Strings(ext.StringsVersion(5)), cel.DefaultUTCTimeZone(true)}
	for name, typ := range map[string]*cel.Type{
		"request.headers": cel.MapType(cel.StringType, cel.StringType), "response.headers": cel.MapType(cel.StringType, cel.StringType),
		"request.params": cel.MapType(cel.StringType, cel.ListType(cel.StringType)), "auth.scopes": cel.ListType(cel.StringType),
		"auth.claims": cel.MapType(cel.StringType, cel.DynType), "metadata": cel.MapType(cel.StringType, cel.DynType),
		"attributes": cel.MapType(cel.StringType, cel.DynType), "response.status": cel.IntType, "auth.authenticated": cel.BoolType,
		"request.method": cel.StringType, "request.scheme": cel.StringType, "request.authority": cel.StringType,
		"request.host": cel.StringType, "request.path": cel.StringType, "request.url_path": cel.StringType,
		"request.query": cel.StringType, "request.id": cel.StringType, "auth.subject": cel.StringType, "auth.issuer": cel.StringType,
		"route.name": cel.StringType, "request.time": cel.TimestampType,
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
// way. With limited, what is over the limits is replaced by an error.
func plainInput(in *expr.Static, limited bool) map[string]any {
	path, query, _ := strings.Cut(in.RequestTarget, "?")
	request, response := plainHeaders(in.RequestFields), plainHeaders(in.ResponseFields)
	host := map[string]string{"a": "a", "A:80": "a", "[::1]:80": "[::1]", "u@B": "b", "": ""}[in.RequestAuthority]
	all := map[string]any{
		"request.headers": request, "response.headers": response, "request.params": plainParams(query),
		"auth.scopes": append([]string{}, in.Scopes()...), "auth.claims": plainValue(in.Claims(), limited),
		"metadata": plainValue(in.Entries, limited), "attributes": plainValue(in.EnvoyAttributes, limited),
		"response.status": in.ResponseStatus, "auth.authenticated": in.Authenticated(),
		"request.method": in.RequestMethod, "request.scheme": in.RequestScheme, "request.authority": in.RequestAuthority,
		"request.host": host, "request.path": path, "request.url_path": path, "request.query": query, "request.id": request["x-request-id"],
		"request.time": in.RequestTime, "auth.subject": in.Subject(), "auth.issuer": in.Issuer(), "route.name": in.RouteName,
	}
	if !limited {
		return all
	}
	for name, v := range all {
		switch name {
		case "request.headers", "response.headers":
			headers := map[string]any{}
			for k, value := range v.(map[string]string) {
				headers[k] = limit(value)
			}
			all[name] = headers
		case "auth.claims", "metadata", "attributes":
		default:
			all[name] = limit(v)
		}
	}
	if overLimits(&expr.Static{RequestTarget: in.RequestTarget, RequestTime: in.RequestTime}) {
		all["request.params"] = types.NewErr("over the limits")
	}
	if in.RequestTime.IsZero() {
		all["request.time"] = types.NewErr("over the limits")
	}
	for _, name := range []string{"request.headers", "response.headers"} {
		if len(all[name].(map[string]any)) > expr.MaxElements {
			all[name] = types.NewErr("over the limits")
		}
	}
	return all
}

func limit(v any) any {
	if over(v) {
		return types.NewErr("over the limits")
	}
	return v
}

func plainHeaders(fields expr.Fields) map[string]string {
	all := map[string]string{}
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

// plainValue is a value of a document as cel-go takes it: numbers that were kept as
// they were written are those that they stand for.
func plainValue(v any, limited bool) any {
	switch v := v.(type) {
	case map[string]any:
		if limited && len(v) > expr.MaxElements {
			return types.NewErr("over the limits")
		}
		all := map[string]any{}
		for k, e := range v {
			all[k] = plainValue(e, limited)
		}
		return all
	case []any:
		if limited && len(v) > expr.MaxElements {
			return types.NewErr("over the limits")
		}
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = plainValue(e, limited)
		}
		return list
	case map[string]string:
		all := map[string]any{}
		for k, e := range v {
			all[k] = e
		}
		return plainValue(all, limited)
	case []string:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = e
		}
		return plainValue(list, limited)
	case struct{}:
		// cel-go knows no such type. Whatever it is, it may not matter where it is
		// not read.
		if !limited {
			return "opaque"
		}
	case json.Number:
		if limited && over(v) {
			return types.NewErr("over the limits")
		}
		return plainNumber(v)
	}
	if limited {
		return limit(v)
	}
	return v
}

func plainNumber(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return u
	}
	f, _ := n.Float64()
	return f
}
