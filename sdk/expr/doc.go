// Package expr compiles and evaluates expressions in CEL, the Common Expression
// Language: conditions of policies, rules about claims, keys of rate limits.
//
// [Compile] takes a condition, [CompileString] an expression that gives a string,
// [CompileValue] one that gives anything. All of them parse, type-check, bound the
// cost and plan, and report every problem at once with its place. The programs that
// they give are immutable, safe for concurrent use, start no goroutine and do no
// I/O; they read a request through an [Input] that the caller implements.
//
// # Variables
//
//	request.method       string                     the method, as sent
//	request.scheme       string                     http or https
//	request.authority    string                     the authority, as sent
//	request.host         string                     its host, in lower case, without a port
//	request.path         string                     the path without the query, as Envoy passes it on
//	request.url_path     string                     the same, under Envoy's name for it
//	request.query        string                     the query, without the question mark
//	request.params       map(string, list(string))  the query's parameters, decoded
//	request.headers      map(string, string)        the headers; several values are joined
//	request.id           string                     the header x-request-id, or ""
//	request.time         timestamp                  when the request came
//	response.status      int                        the status code
//	response.headers     map(string, string)        the response's headers
//	auth.authenticated   bool                       whether the caller is known
//	auth.subject         string                     who the caller is, or ""
//	auth.issuer          string                     who vouches for the caller, or ""
//	auth.scopes          list(string)               what the caller may do
//	auth.claims          map(string, dyn)           further statements about the caller
//	route.name           string                     the route's name
//	metadata             map(string, dyn)           what earlier policies have left; by key only
//	attributes           map(string, dyn)           Envoy's attributes; by constant names only
//
// [Variables] has them with limits and examples; docs/reference/expressions.md is
// the reference of the language.
//
// # Errors
//
// An evaluation without a result (a key is missing, a value has another type, a
// string is over [MaxString]) is an [EvalError], never false. && and || absorb
// errors as CEL defines it.
//
// # Cost
//
// What an expression reads is held to [MaxString] and [MaxElements], so that cel-go's
// estimate is a bound: it is at most [MaxCost], or the expression is refused. Where
// cel-go knows no bound, evaluation is metered and ends at [MaxMeteredCost].
//
// # Two ways of evaluation
//
// Expressions of common shapes are planned as closures that do without the
// interpreter's values and without allocations. They know results only: where there
// is none, the interpreter evaluates the expression from the start.
package expr
