// Package claims checks what a verified JSON Web Token says (RFC 7519, section 4)
// and renders it for an upstream.
//
// Dates, audience and issuer are checked by github.com/golang-jwt/jwt's validator;
// this package gives it claims whose types have been checked. Nothing here does
// I/O, reads its own clock, or has a default that belongs to a policy.
package claims
