// Package limits is what the versions of rate-limit have in common: the parameters of a
// limit, the key and the cost of a request, and the fields and answers that tell a
// client about them.
package limits
