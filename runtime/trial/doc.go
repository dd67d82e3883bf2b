// Package trial runs one request from a file through chains, and reports what each step did
// and why, without a proxy: the command `policy-engine try`, which `pectl try` calls.
package trial
