// Package jose verifies JSON Web Signatures in compact form (RFC 7515, section
// 7.1) against a set of public keys.
//
// It knows asymmetric algorithms only, binds each to the one kind of key that it
// is for (RFC 8725, section 3.1), and takes a key from nowhere but the set that it
// is given: what a token's header says about keys beyond "kid" is not checked.
// The mathematics are the standard library's.
//
// Nothing in this package does I/O, reads a clock, or has a default that belongs
// to a policy: versions of the policy share it, and see docs/decisions for what
// that means for a change here.
package jose
