package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"

	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// Modes are the body modes that routes need, by their names.
type Modes map[string]*extproc.ProcessingMode

// ModesFor asks the engine's binary what its chains need, and returns it for the routes
// whose chains read bodies. Of several files of chains, such as are in force one after
// the other, a route needs what any of them does. Files that the engine refuses are
// left out.
func ModesFor(ctx context.Context, o EngineOptions, chains ...[]byte) (_ Modes, err error) {
	if o.Dir, err = ShortDir(); err != nil {
		return nil, err
	}
	defer os.RemoveAll(o.Dir)
	e := &Engine{options: o}
	if err := e.writeConfig(); err != nil {
		return nil, err
	}
	static, err := config.LoadEngine(e.path(engineFile))
	if err != nil {
		return nil, err
	}
	all := Modes{}
	for _, c := range chains {
		if err := e.writeChains(c); err != nil {
			return nil, err
		}
		check := exec.CommandContext(ctx, o.Path, "-config", e.path(engineFile), "-check", "-dump")
		check.Env = append(os.Environ(), o.Environment...)
		page, err := check.Output()
		if err != nil {
			continue
		}
		var dump admin.Dump
		if err := json.Unmarshal(page, &dump); err != nil {
			return nil, fmt.Errorf("decoding what the engine tells of its chains: %w", err)
		}
		n, err := needs.New(static, dump)
		if err != nil {
			return nil, err
		}
		for _, r := range n.Routes {
			all.add(r.Name, r.Chain.Mode())
		}
	}
	return all, nil
}

// add notes that a route needs a mode, beside what it needs already.
func (m Modes) add(route string, mode *extproc.ProcessingMode) {
	const none = extproc.ProcessingMode_NONE
	if mode.RequestBodyMode == none && mode.ResponseBodyMode == none {
		return
	}
	if old := m[route]; old != nil {
		mode.RequestBodyMode = more(mode.RequestBodyMode, old.RequestBodyMode)
		mode.ResponseBodyMode = more(mode.ResponseBodyMode, old.ResponseBodyMode)
	}
	m[route] = mode
}

// more is the mode that serves whoever one of the two serves.
func more(a, b extproc.ProcessingMode_BodySendMode) extproc.ProcessingMode_BodySendMode {
	rank := map[extproc.ProcessingMode_BodySendMode]int{
		extproc.ProcessingMode_STREAMED: 1, extproc.ProcessingMode_FULL_DUPLEX_STREAMED: 2, extproc.ProcessingMode_BUFFERED: 3,
	}
	if rank[a] > rank[b] {
		return a
	}
	return b
}

// ShowBodies has the routes of o show what the engine's chains read, each by a processing
// mode of its own, as an operator is told to set Envoy up. Routes that say something of
// filters stay as they are.
func (o *Options) ShowBodies(ctx context.Context) error {
	modes, err := ModesFor(ctx, o.Engine, o.Engine.Chains)
	if err != nil || len(modes) == 0 {
		return err
	}
	for _, r := range o.Bootstrap.Routes {
		if route, ok := r.(map[string]any); ok && route["typed_per_filter_config"] == nil {
			modes.Apply(route)
		}
	}
	ShowTrailers(&o.Bootstrap, &o.Engine)
	return nil
}

// ShowTrailers has the filter of b send trailers, and the engine know it: whoever reads
// bodies needs them. It changes copies of the maps that are there.
func ShowTrailers(b *Bootstrap, o *EngineOptions) {
	b.ExtProc = merged(map[string]any{"processing_mode": map[string]any{
		"request_trailer_mode": "SEND", "response_trailer_mode": "SEND",
	}}, b.ExtProc)
	o.Config = merged(map[string]any{"filter": map[string]any{"processingMode": map[string]any{
		"requestTrailers": "send", "responseTrailers": "send",
	}}}, o.Config)
}

// Apply gives a route ([Route]) the body modes that it needs. Headers and trailers are
// sent, as by a filter of [ShowTrailers].
func (m Modes) Apply(route map[string]any) {
	name, _ := route["name"].(string)
	mode := m[name]
	if mode == nil {
		return
	}
	route["typed_per_filter_config"] = map[string]any{filterName: map[string]any{
		"@type": typeURL + "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute",
		"overrides": map[string]any{"processing_mode": map[string]any{
			"request_header_mode": "SEND", "response_header_mode": "SEND",
			"request_body_mode": mode.RequestBodyMode.String(), "response_body_mode": mode.ResponseBodyMode.String(),
			"request_trailer_mode": "SEND", "response_trailer_mode": "SEND",
		}},
	}}
}
