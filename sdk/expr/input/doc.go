// Package input lets expressions of package expr read what runtimes and policies
// hold: an exchange, or the contexts that a policy is given.
//
// A runtime embeds an [Exchange] in what it keeps for a stream, so that evaluating
// a condition costs no allocation. A policy calls [Request] or [Response], and puts
// [WithPrincipal] over them to try a caller that it has not set yet.
package input
