// Package gcra decides by the generic cell rate algorithm (ITU-T I.371) whether a
// request is within its rate, exactly and for many keys at once.
//
// For each key a [Store] keeps one number: the theoretical arrival time, at which the
// key would have its whole burst again. Between any two moments a key is granted at
// most burst + rate x (time between them) units of cost, and a request that keeps
// within that is never refused. All arithmetic is in whole numbers.
package gcra
