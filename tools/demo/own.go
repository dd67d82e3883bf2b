package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/config"
)

// own is the user's bundle and chains, instead of the demo's.
type own struct {
	bundle, file string
	chains       []byte
	// routes are the names of the routes, in the order of the file.
	routes []string
}

// newOwn reads the chains. bundle is empty for the reference bundle.
func newOwn(bundle, file string) (*own, error) {
	path := file
	if dir := os.Getenv("BUILD_WORKING_DIRECTORY"); dir != "" && !filepath.IsAbs(path) {
		path = filepath.Join(dir, path) // bazel run has another working directory
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the chains: %w", err)
	}
	spec, _, err := config.ParseChains([]config.File{{Name: file, Src: src}})
	if err != nil {
		return nil, err
	}
	o := &own{bundle: bundle, file: file, chains: src}
	for _, r := range spec.Routes {
		o.routes = append(o.routes, r.Name)
	}
	if len(o.routes) == 0 {
		return nil, fmt.Errorf("%s has no routes: name at least one, such as routes: [{name: try, chain: NAME}]", file)
	}
	return o, nil
}

// engine is the path of the bundle's binary.
func (o *own) engine(ctx context.Context) (string, error) {
	if o.bundle == "" {
		return engines.Payments()
	}
	return engines.Bundle(ctx, o.bundle)
}

// start starts the bundle behind an Envoy that has a route for each of the chains'
// routes, and sends the attributes that they read.
func (o *own) start(ctx context.Context) (*harness.Stack, error) {
	engine, err := o.engine(ctx)
	if err != nil {
		return nil, err
	}
	request, response, err := o.check(ctx, engine)
	if err != nil {
		return nil, err
	}
	var routes []any
	for _, name := range o.routes {
		routes = append(routes, harness.Route(name, "/"+name))
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	options := harness.Options{
		Engine: harness.EngineOptions{Path: engine, Chains: o.chains},
		Bootstrap: harness.Bootstrap{Routes: routes, ExtProc: map[string]any{
			"request_attributes": append([]any{"xds.route_name"}, request...), "response_attributes": response,
		}},
	}
	if err := options.ShowBodies(ctx); err != nil {
		return nil, err
	}
	stack, err := harness.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	stack.Upstream.Answer(harness.Answer{Echo: true})
	return stack, nil
}

// check returns the attributes that the chains read. The error of an invalid file has the
// engine's report of all problems.
func (o *own) check(ctx context.Context, engine string) (request, response []any, err error) {
	dir, err := os.MkdirTemp("", "demo")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	base := filepath.Base(o.file)
	static := fmt.Sprintf("listeners: [{address: %q}]\nadmin: {address: %q}\nsource: {path: %q}\n",
		"unix:"+filepath.Join(dir, "engine.sock"), "unix:"+filepath.Join(dir, "admin.sock"), base)
	for name, content := range map[string][]byte{"engine.yaml": []byte(static), base: o.chains} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, nil, err
		}
	}
	command := exec.CommandContext(ctx, engine, "-check", "-dump", "-config", filepath.Join(dir, "engine.yaml"))
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		return nil, nil, fmt.Errorf("%s with the bundle %s: %w\n%s", o.file, o.bundle, err, strings.ReplaceAll(problems.String(), dir+string(filepath.Separator), ""))
	}
	var dump admin.Dump
	if err := json.Unmarshal(out.Bytes(), &dump); err != nil {
		return nil, nil, fmt.Errorf("reading the output of policy-engine -check -dump: %w", err)
	}
	if dump.Config == nil {
		return nil, nil, errors.New("the output of policy-engine -check -dump has no configuration")
	}
	for _, c := range dump.Config.Chains {
		for _, name := range c.RequestAttributes {
			request = append(request, name)
		}
		for _, name := range c.ResponseAttributes {
			response = append(response, name)
		}
	}
	return request, response, nil
}

// show sends a request to each route, and prints who decided it.
func (o *own) show(ctx context.Context, stack *harness.Stack, out io.Writer) error {
	p := &player{stack: stack, client: http.Client{Transport: &http.Transport{}, Timeout: patience}}
	defer p.client.CloseIdleConnections()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REQUEST\tSTATUS\tDECIDED BY")
	for _, name := range o.routes {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+stack.Address()+"/"+name, nil)
		if err != nil {
			return fmt.Errorf("the route %q cannot be a path: %w", name, err)
		}
		response, err := p.client.Do(request)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil {
			return err
		}
		entry, err := p.entry(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "GET /%s\t%d\t%s\n", name, response.StatusCode, decidedBy(entry.Details))
	}
	return w.Flush()
}
