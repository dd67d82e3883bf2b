//go:build tools

// Package deps keeps the modules that MODULE.bazel names in go.mod while no
// package of the repository imports them yet.
package deps

import (
	_ "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	_ "github.com/google/cel-go/cel"
	_ "google.golang.org/grpc"
)
