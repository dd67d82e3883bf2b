package expr

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
)

// Scope is what a variable tells about: the part of its name before the dot.
type Scope string

// The scopes of the documented variables.
const (
	ScopeRequest    Scope = "request"
	ScopeResponse   Scope = "response"
	ScopeAuth       Scope = "auth"
	ScopeRoute      Scope = "route"
	ScopeMetadata   Scope = "metadata"
	ScopeAttributes Scope = "attributes"
)

// Variable documents a variable of the language.
type Variable struct {
	// Name is how an expression reads it.
	Name string
	// Type is its CEL type.
	Type string
	// Scope is what it tells about.
	Scope Scope
	// Doc says what it is, in a sentence or two.
	Doc string
	// Limit is the size that the cost at load assumes and that evaluation
	// holds it to; "" where it has none.
	Limit string
	// Example is a condition that reads it.
	Example string
}

// Variables returns the documented variables, in the order of the documentation.
// The slice is the caller's.
func Variables() []Variable {
	docs := make([]Variable, len(variables))
	for i := range variables {
		docs[i] = variables[i].doc
	}
	return docs
}

// variable is a documented variable and the one way to its value, which both ways
// of evaluation share. Exactly one of the getters is set.
type variable struct {
	doc Variable
	typ *cel.Type

	text  func(Input) string
	whole func(Input) int64
	truth func(Input) bool
	// value gives the values that are not scalars, and those that may fail.
	value func(*activation) ref.Val
}

var variablesByName = func() map[string]*variable {
	byName := make(map[string]*variable, len(variables))
	for i := range variables {
		byName[variables[i].doc.Name] = &variables[i]
	}
	return byName
}()

// scopeNames are the first parts of the names of variables, sorted.
var scopeNames = func() []string {
	set := map[string]bool{}
	for i := range variables {
		set[string(variables[i].doc.Scope)] = true
	}
	return slices.Sorted(maps.Keys(set))
}()

var (
	headerMapType = cel.MapType(cel.StringType, cel.StringType)
	paramMapType  = cel.MapType(cel.StringType, cel.ListType(cel.StringType))
	documentType  = cel.MapType(cel.StringType, cel.DynType)
)

const (
	limitString   = "16 KiB"
	limitStrings  = "256 entries of 16 KiB"
	limitDocument = "strings of 16 KiB, lists and maps of 256 entries"
)

var variables = []variable{
	{
		doc: Variable{
			Name: "request.method", Type: "string", Scope: ScopeRequest, Limit: limitString,
			Doc:     "The method, as sent: methods are case-sensitive (RFC 9110, section 9.1).",
			Example: `request.method in ["GET", "HEAD"]`,
		},
		typ: cel.StringType, text: Input.Method,
	},
	{
		doc: Variable{
			Name: "request.scheme", Type: "string", Scope: ScopeRequest, Limit: limitString,
			Doc:     "The scheme: http or https.",
			Example: `request.scheme == "https"`,
		},
		typ: cel.StringType, text: Input.Scheme,
	},
	{
		doc: Variable{
			Name: "request.authority", Type: "string", Scope: ScopeRequest, Limit: limitString,
			Doc:     "The authority (the Host of HTTP/1.1) as sent, with a port where one was sent.",
			Example: `request.authority == "api.example.com:8443"`,
		},
		typ: cel.StringType, text: Input.Authority,
	},
	{
		doc: Variable{
			Name: "request.host", Type: "string", Scope: ScopeRequest, Limit: limitString,
			Doc:     "The authority's host in lower case and without a port.",
			Example: `request.host.endsWith(".example.com")`,
		},
		typ: cel.StringType, text: func(in Input) string { return hostOf(in.Authority()) },
	},
	{
		doc: Variable{
			Name: "request.path", Type: "string", Scope: ScopeRequest, Limit: limitString,
			Doc:     "The path without the query, as Envoy passes it on: nothing is decoded or normalised here.",
			Example: `request.path.startsWith("/v1/")`,
		},
		typ: cel.StringType, text: func(in Input) string { return pathOf(in.Target()) },
	},
	{
		doc: Variable{
			Name: "request.url_path", Type: "string", Scope: ScopeRequest, Limit: limitString,
			Doc:     "The same as request.path, under the name that Envoy's own expressions have for it.",
			Example: `request.url_path == "/healthz"`,
		},
		typ: cel.StringType, text: func(in Input) string { return pathOf(in.Target()) },
	},
	{
		doc: Variable{
			Name: "request.query", Type: "string", Scope: ScopeRequest, Limit: limitString,
			Doc:     "The query as sent, without the question mark; empty where there is none.",
			Example: `request.query == ""`,
		},
		typ: cel.StringType, text: func(in Input) string { return queryOf(in.Target()) },
	},
	{
		doc: Variable{
			Name: "request.params", Type: "map(string, list(string))", Scope: ScopeRequest, Limit: limitStrings,
			Doc:     "The query's parameters, decoded, each with all its values in order.",
			Example: `"beta" in request.params && request.params["beta"] == ["1"]`,
		},
		typ: paramMapType, value: func(a *activation) ref.Val { return paramsOf(a.in.Target()) },
	},
	{
		doc: Variable{
			Name: "request.headers", Type: "map(string, string)", Scope: ScopeRequest, Limit: limitStrings,
			Doc: "The request's headers. Names match whatever their case; iteration gives them in lower case. " +
				"Values of a name that occurs several times are joined by a comma (cookie: by \"; \"). Pseudo-headers are not in it.",
			Example: `"x-debug" in request.headers && request.headers["x-debug"] == "on"`,
		},
		typ: headerMapType, value: func(a *activation) ref.Val { return a.requestHeaders() },
	},
	{
		doc: Variable{
			Name: "request.id", Type: "string", Scope: ScopeRequest, Limit: limitString,
			Doc:     "The header x-request-id; empty where there is none.",
			Example: `request.id.endsWith("0")`,
		},
		typ: cel.StringType, text: func(in Input) string { v, _ := headerValue(in.RequestHeaders(), "x-request-id"); return v },
	},
	{
		doc: Variable{
			Name: "request.time", Type: "timestamp", Scope: ScopeRequest,
			Doc:     "When the request came. An error where that is not known.",
			Example: `request.time.getHours() < 6`,
		},
		typ: cel.TimestampType, value: func(a *activation) ref.Val { return timeOf(a.in.Time()) },
	},
	{
		doc: Variable{
			Name: "response.status", Type: "int", Scope: ScopeResponse,
			Doc:     "The response's status code.",
			Example: `response.status >= 500`,
		},
		typ: cel.IntType, whole: func(in Input) int64 { return int64(in.Status()) },
	},
	{
		doc: Variable{
			Name: "response.headers", Type: "map(string, string)", Scope: ScopeResponse, Limit: limitStrings,
			Doc:     "The response's headers, as request.headers has the request's.",
			Example: `request.method == "GET" && !("cache-control" in response.headers)`,
		},
		typ: headerMapType, value: func(a *activation) ref.Val { return a.responseHeaders() },
	},
	{
		doc: Variable{
			Name: "auth.authenticated", Type: "bool", Scope: ScopeAuth,
			Doc:     "Whether an earlier policy has authenticated the caller.",
			Example: `!auth.authenticated`,
		},
		typ: cel.BoolType, truth: Input.Authenticated,
	},
	{
		doc: Variable{
			Name: "auth.subject", Type: "string", Scope: ScopeAuth, Limit: limitString,
			Doc:     "Who the caller is: a token's sub, an API key's id. Empty where the caller is not authenticated.",
			Example: `auth.subject.startsWith("svc-")`,
		},
		typ: cel.StringType, text: Input.Subject,
	},
	{
		doc: Variable{
			Name: "auth.issuer", Type: "string", Scope: ScopeAuth, Limit: limitString,
			Doc:     "Who vouches for the caller: a token's iss. Empty where there is none.",
			Example: `auth.issuer == "https://login.example.com/"`,
		},
		typ: cel.StringType, text: Input.Issuer,
	},
	{
		doc: Variable{
			Name: "auth.scopes", Type: "list(string)", Scope: ScopeAuth, Limit: limitStrings,
			Doc:     "What the caller may do. Empty where the caller is not authenticated.",
			Example: `"payments:write" in auth.scopes`,
		},
		typ: cel.ListType(cel.StringType), value: func(a *activation) ref.Val { return scopesOf(a.in.Scopes()) },
	},
	{
		doc: Variable{
			Name: "auth.claims", Type: "map(string, dyn)", Scope: ScopeAuth, Limit: limitDocument,
			Doc:     "Further verified statements about the caller: a token's claims. Empty where there are none. JSON's numbers are doubles.",
			Example: `has(auth.claims.tier) && auth.claims.tier == "gold"`,
		},
		typ: documentType, value: func(a *activation) ref.Val { return documentOf(a.in.Claims()) },
	},
	{
		doc: Variable{
			Name: "route.name", Type: "string", Scope: ScopeRoute, Limit: limitString,
			Doc:     "The route's name, as Envoy names it.",
			Example: `route.name != "legacy"`,
		},
		typ: cel.StringType, text: Input.Route,
	},
	{
		doc: Variable{
			Name: "metadata", Type: "map(string, dyn)", Scope: ScopeMetadata, Limit: limitDocument,
			Doc: "What earlier policies have left for later ones about this request and response. " +
				"It is read by key; it cannot be gone through.",
			Example: `has(metadata.risk) && metadata.risk > 0.8`,
		},
		typ: documentType, value: func(a *activation) ref.Val { return a.metadata() },
	},
	{
		doc: Variable{
			Name: "attributes", Type: "map(string, dyn)", Scope: ScopeAttributes, Limit: limitDocument,
			Doc: "Envoy's attributes by their flat names. The names have to be constant, so that Envoy can be asked for them; " +
				"numbers are doubles.",
			Example: `attributes["source.address"].startsWith("10.")`,
		},
		typ: documentType, value: func(a *activation) ref.Val { return a.attributes() },
	},
}

// pathOf is the path of a request target, without the query.
func pathOf(target string) string {
	if i := strings.IndexByte(target, '?'); i >= 0 {
		return target[:i]
	}
	return target
}

// queryOf is the query of a request target, without the question mark.
func queryOf(target string) string {
	if i := strings.IndexByte(target, '?'); i >= 0 {
		return target[i+1:]
	}
	return ""
}

// hostOf is the host of an authority (RFC 3986, section 3.2) in lower case. An
// IPv6 address keeps its brackets.
func hostOf(authority string) string {
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	if i := strings.LastIndexByte(host, ':'); i >= 0 && i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return lowerASCII(host)
}

// lowerASCII is s with ASCII letters in lower case; s itself where it already is.
func lowerASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if c := b[i]; 'A' <= c && c <= 'Z' {
					b[i] = c + ('a' - 'A')
				}
			}
			return string(b)
		}
	}
	return s
}
