// Package explain says what an engine does with requests on a route: which entry of the
// configuration serves the route and why, which steps run in which phase, what Envoy has to
// show of an exchange, and which limits hold.
//
// The admin page /config_dump?route=NAME and the command `policy-engine explain` show it.
package explain
