// Package jwtvalidation lets requests pass that carry a JSON Web Token (RFC 7519)
// of one of several issuers, each with rules of its own, and says whose it was. It
// is jwt-validation v2.1.0: see README.md for what it refuses and why, and
// policy.yaml for its parameters.
package jwtvalidation
