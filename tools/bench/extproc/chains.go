package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"policyengine.dev/tools/bench/server"
)

// chain is one thing to measure.
type chain struct {
	name   string
	target float64
	// policies are the chain's, in the configuration's form.
	policies []string
	// routes is how many routes there are beside the one that is asked for.
	routes int
	// messages are the conversation; nil is that of a request without a body.
	messages []*extprocv3.ProcessingRequest
	// bodies is what the floor does with bodies.
	bodies string
	// inFlight bounds the streams in flight; 0 leaves it to the flag.
	inFlight int
}

const condition = `request.method == "POST" && request.path.startsWith("/v1/")`

// setHeader is a use of the header policy on the request and, where both is set, on
// the response.
func setHeader(i int, when string, both bool) string {
	p := fmt.Sprintf("{id: h%d, name: set-header, version: v1, params: {request: {set: [{name: x-step-%d, value: \"1\"}]}", i, i)
	if both {
		p += fmt.Sprintf(", response: {set: [{name: x-step-%d, value: \"1\"}]}", i)
	}
	p += "}"
	if when != "" {
		p += ", when: '" + when + "'"
	}
	return p + "}"
}

func five(when string, both bool) []string {
	var all []string
	for i := range 5 {
		all = append(all, setHeader(i, when, both))
	}
	return all
}

func chains() ([]chain, error) {
	one := []string{setHeader(0, "", false)}
	headers := []chain{
		{name: "empty chain", target: 0.50},
		{name: "set-header on the request", target: 0.55, policies: one},
		{name: "set-header on the request, 1,000 routes", target: 0.55, policies: one, routes: 999},
		{name: "five header policies on the request", target: 0.65, policies: five("", false)},
		{name: "five header policies on the request, each with a condition", target: 0.80, policies: five(condition, false)},
		{name: "five header policies on request and response", target: 1.00, policies: five("", true)},
	}
	bodies, err := bodyChains()
	return append(headers, bodies...), err
}

// startEngine starts an engine with the one chain.
func startEngine(ctx context.Context, binary, dir string, c chain) (*server.Server, error) {
	dir, err := os.MkdirTemp(dir, "engine")
	if err != nil {
		return nil, err
	}
	chains := fmt.Sprintf("chains: [{name: bench, policies: [%s]}]\nroutes:\n- {name: bench, chain: bench}\n", strings.Join(c.policies, ", "))
	for i := range c.routes {
		chains += fmt.Sprintf("- {name: other-%d, chain: bench}\n", i)
	}
	socket := filepath.Join(dir, "engine.sock")
	engine := fmt.Sprintf("listeners: [{address: %q}]\nadmin: {address: \"127.0.0.1:0\"}\nsource: {path: chains.yaml}\ntelemetry: {logs: {level: warn}}\n"+
		"filter: {messageTimeout: 1m, processingMode: {requestTrailers: send}}\n", "unix:"+socket)
	for name, content := range map[string]string{"chains.yaml": chains, "engine.yaml": engine} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	s, err := server.Start(ctx, socket, binary, "-config", filepath.Join(dir, "engine.yaml"))
	if err != nil {
		return nil, fmt.Errorf("starting the engine: %w", err)
	}
	return s, nil
}
