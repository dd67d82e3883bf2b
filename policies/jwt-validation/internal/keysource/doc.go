// Package keysource keeps a set of keys that is in a file or behind a URL, and
// renews it in the background.
//
// Requests read the set without a lock and never load it: what they may do, within
// bounds, is to ask for it to be loaded early, because they have met a key that is
// not in it. Where loading fails the last good set stays in use, for as long as the
// configuration says.
package keysource
