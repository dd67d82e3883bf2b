// Package configdiff compares two configurations of chains and routes, and marks the
// changes that may widen what is let through. What it marks is a closed list, [Widenings]:
// it does not know what parameters and conditions mean.
package configdiff
