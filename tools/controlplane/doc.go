// Package controlplane serves chains and routes from a directory to engines over xDS, with
// go-control-plane's server.
//
// Each directory below the served one is a node cluster's configuration, and the files in
// the directory itself are for engines that say no cluster. A directory is checked as a
// whole before it is served. What is refused leaves what is served as it is.
package controlplane
