// Package expr compiles and evaluates the expressions of the policy engine.
package expr
