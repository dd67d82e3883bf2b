// Package needs works out what an engine's chains need of Envoy's external
// processing filter: which parts of a message have to be shown, and which attributes.
//
// It reads what the engine tells of its chains (admin.Dump), so that no policy has
// to be compiled in where it is used.
package needs

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/extproc/negotiate"
	"policyengine.dev/runtime/extproc/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
)

// Namespace is the namespace of the dynamic metadata that policies set, which the
// filter has to let in.
const Namespace = "policyengine"

// CodeDetails is the attribute by which the engine tells a response that Envoy has
// made itself from one that an upstream has sent.
const CodeDetails = "response.code_details"

// Needs is what an engine needs of Envoy. It is not modified once made.
type Needs struct {
	// Engine is the engine's static configuration.
	Engine config.Engine
	// Chains are all chains, sorted by name.
	Chains []*Chain
	// Routes are the routes that have a chain, sorted by name.
	Routes []Route
	// ContinueUnknown says that requests on other routes pass.
	ContinueUnknown bool

	byRoute map[string]*Chain
	names   *worker.RouteNames
}

// Route is a route and its chain.
type Route struct {
	Name  string
	Chain *Chain
}

// Chain is what one chain needs.
type Chain struct {
	Name              string
	Request, Response Side
	// BodyLimit bounds a whole body in bytes: the chain's own limit, or the
	// engine's.
	BodyLimit int64
	// KeepsRequestLength and KeepsResponseLength say that the policies of the body's pieces
	// only read them, so that content-length can stay.
	KeepsRequestLength, KeepsResponseLength bool
	// Reroute means that Envoy selects the route again after a change to the request.
	Reroute bool
	// RequestAttributes and ResponseAttributes are the attributes that have to
	// come with each direction for the sake of conditions. Both are sorted.
	RequestAttributes, ResponseAttributes []string
	// ComparesPath says that a condition reads the request's path, ReadsClientCert
	// that a condition or a parameter names the header x-forwarded-client-cert.
	// What policies read by themselves is not known.
	ComparesPath, ReadsClientCert bool
}

// Side is what a chain has to be shown of a request or a response, or what is shown:
// negotiate.Side in the words of Envoy's configuration. The zero value is nothing.
type Side struct {
	// Headers counts for responses; requests without headers are refused
	// whatever the chain is.
	Headers bool
	// Body is NONE, STREAMED, BUFFERED or FULL_DUPLEX_STREAMED.
	Body     extproc.ProcessingMode_BodySendMode
	Trailers bool
}

// New returns the needs of the engine that made the dump. The error says that the
// engine had no valid configuration yet, or what of the dump cannot be understood.
func New(engine config.Engine, dump admin.Dump) (*Needs, error) {
	if dump.Config == nil {
		if dump.Rejected != nil && len(dump.Rejected.Problems) > 0 {
			p := dump.Rejected.Problems[0]
			return nil, fmt.Errorf("the engine has no valid configuration: %s: %s", p.Path, p.Message)
		}
		return nil, errors.New("the engine has no configuration yet")
	}
	n := &Needs{Engine: engine, ContinueUnknown: dump.Config.OnUnknownRoute == "continue", byRoute: map[string]*Chain{}}
	chains := map[string]*Chain{}
	var problems []error
	for i := range dump.Config.Chains {
		c, err := newChain(engine, &dump.Config.Chains[i])
		if err != nil {
			problems = append(problems, err)
			continue
		}
		chains[c.Name] = c
		n.Chains = append(n.Chains, c)
	}
	for route, name := range dump.Config.Routes {
		c := chains[name]
		if c == nil && problems == nil {
			problems = append(problems, fmt.Errorf("route %q refers to the chain %q, which the dump does not have", route, name))
		}
		n.Routes = append(n.Routes, Route{route, c})
		n.byRoute[route] = c
	}
	if problems != nil {
		return nil, errors.Join(problems...)
	}
	n.names = worker.NewRouteNames(slices.Collect(maps.Keys(n.byRoute)))
	slices.SortFunc(n.Chains, func(a, b *Chain) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(n.Routes, func(a, b Route) int { return cmp.Compare(a.Name, b.Name) })
	return n, nil
}

func newChain(engine config.Engine, d *admin.ChainDump) (*Chain, error) {
	var phases policy.PhaseSet
	for _, name := range d.Phases {
		p, ok := policy.ParsePhase(name)
		if !ok {
			return nil, fmt.Errorf("chain %q has a phase %q, which this version does not know: use the pectl of the engine's release", d.Name, name)
		}
		phases = phases.With(p)
	}
	chain := &worker.Needs{
		Phases:             phases,
		HoldsRequestChunks: d.HoldsRequestChunks, HoldsResponseChunks: d.HoldsResponseChunks,
		ChangesRequestChunks: !d.ReadsRequestChunks, ChangesResponseChunks: !d.ReadsResponseChunks,
		DecodeRequestBody: d.DecodesRequestBody, DecodeResponseBody: d.DecodesResponseBody,
	}
	request, response := negotiate.Demand(chain)
	c := &Chain{
		Name: d.Name, Request: sideOf(request), Response: sideOf(response),
		BodyLimit: d.BodyLimit, Reroute: d.Reroute,
		RequestAttributes: d.RequestAttributes, ResponseAttributes: d.ResponseAttributes,
	}
	c.KeepsRequestLength, c.KeepsResponseLength = negotiate.Keeps(chain)
	for _, step := range d.Steps {
		c.reads(&step)
	}
	if c.BodyLimit <= 0 {
		c.BodyLimit = engine.Limits.Body
	}
	return c, nil
}

// clientCert is the header with which a proxy tells of its client's certificate.
const clientCert = "x-forwarded-client-cert"

// reads notes what a step reads of a request that Envoy may have from the client as it
// is.
func (c *Chain) reads(step *admin.StepDump) {
	if strings.Contains(strings.ToLower(string(step.Params)), clientCert) {
		c.ReadsClientCert = true
	}
	if step.When == "" {
		return
	}
	condition, err := expr.Compile(step.When)
	if err != nil {
		return // one of another version's
	}
	reads := condition.Reads()
	c.ComparesPath = c.ComparesPath || reads.Variable("request.path") || reads.Variable("request.url_path")
	c.ReadsClientCert = c.ReadsClientCert || slices.Contains(reads.RequestHeaders, clientCert)
}

func sideOf(d negotiate.Side) Side {
	return Side{Headers: d.Headers, Body: extproc.ProcessingMode_BodySendMode(d.Body), Trailers: d.Trailers}
}

// Lacks is what a chain needs of a message and is not shown, as the kernel judges it.
func (s Side) Lacks(shown Side) Side { return sideOf(s.demand().Lacks(shown.demand())) }

func (s Side) demand() negotiate.Side {
	return negotiate.Side{Headers: s.Headers, Body: wire.BodyMode(s.Body), Trailers: s.Trailers}
}

// Chain returns the chain that the engine runs for one of Envoy's routes, and the name in
// the configuration entry that matched, which may be a pattern. It returns nil if no entry matches.
func (n *Needs) Chain(route string) (chain *Chain, entry string) {
	entry, _ = n.names.Find(route)
	return n.byRoute[entry], entry
}

// Mode is the processing mode that shows the chain what it needs and nothing else.
func (c *Chain) Mode() *extproc.ProcessingMode {
	return &extproc.ProcessingMode{
		RequestHeaderMode:   extproc.ProcessingMode_SEND,
		ResponseHeaderMode:  headerMode(c.Response.Headers),
		RequestBodyMode:     c.Request.Body,
		ResponseBodyMode:    c.Response.Body,
		RequestTrailerMode:  headerMode(c.Request.Trailers),
		ResponseTrailerMode: headerMode(c.Response.Trailers),
	}
}

// LengthMode is Mode with BUFFERED in place of STREAMED where the pieces of a body are only read.
// Envoy keeps content-length under BUFFERED. The engine overrides the mode to STREAMED in the
// answer to the headers, where that is allowed. A body of which more arrives before that answer than
// Envoy may buffer is refused by Envoy: 413 for a request, 500 for a response.
func (c *Chain) LengthMode() *extproc.ProcessingMode {
	m := c.Mode()
	if c.KeepsRequestLength {
		m.RequestBodyMode = extproc.ProcessingMode_BUFFERED
	}
	if c.KeepsResponseLength {
		m.ResponseBodyMode = extproc.ProcessingMode_BUFFERED
	}
	return m
}

// Override is the mode override by which the engine asks for Mode: as Mode, but for
// the request's headers, which have come by then.
func (c *Chain) Override() *extproc.ProcessingMode {
	m := c.Mode()
	m.RequestHeaderMode = extproc.ProcessingMode_DEFAULT
	return m
}

// Buffers reports whether Envoy has to hold a whole body for the chain.
func (c *Chain) Buffers() bool {
	return c.Request.Body == extproc.ProcessingMode_BUFFERED || c.Response.Body == extproc.ProcessingMode_BUFFERED
}

// HoldsRequest reports whether pieces of the request's body are held back.
func (c *Chain) HoldsRequest() bool {
	return c.Request.Body == extproc.ProcessingMode_FULL_DUPLEX_STREAMED
}

// Early reports whether the mode of the request's body has to be in force when the
// body begins. An override, in the answer to the headers, may come too late: in full
// duplex the end of an empty body may have passed by, and a body that is to be held
// may have filled Envoy's buffer, which then waits for ever. Responses come later than
// any override.
func (c *Chain) Early() bool {
	return c.HoldsRequest() || c.Request.Body == extproc.ProcessingMode_BUFFERED
}

// NeedsOwnMode reports whether the chain's routes need a processing mode of their own,
// beside a filter that shows headers and nothing else. prefersOverrides says that the
// engine asks for request bodies where it can.
func (c *Chain) NeedsOwnMode(prefersOverrides bool) bool {
	return (c.Request.Trailers || c.Response.Trailers) && !(prefersOverrides && c.MayRelyOnOverride())
}

// MayRelyOnOverride reports whether an engine that prefers mode overrides gets what the
// chain needs, in time, from a filter that shows headers and nothing else, and would see
// that Envoy has ignored an override.
func (c *Chain) MayRelyOnOverride() bool {
	headers := Side{Headers: true}
	return !c.Early() && c.IgnoringShows(headers, headers)
}

// IgnoringShows reports whether an engine would see that Envoy has ignored a mode
// override by which it asks for what the chain needs, in place of what is shown.
func (c *Chain) IgnoringShows(request, response Side) bool {
	return negotiate.IgnoringShows(c.Request.demand(), c.Response.demand(), request.demand(), response.demand())
}

// BufferLimit is what Envoy has to be able to hold for the chain, in bytes: a body of
// just the limit takes a little more.
func (c *Chain) BufferLimit() int64 { return c.BodyLimit + 64<<10 }

func headerMode(send bool) extproc.ProcessingMode_HeaderSendMode {
	if send {
		return extproc.ProcessingMode_SEND
	}
	return extproc.ProcessingMode_SKIP
}

var metadataAttribute = regexp.MustCompile(`^xds\.route_metadata\.filter_metadata\["([^"]+)"\]\["([^"]+)"\]$`)

// RouteMetadata returns the namespace and the key of the route's metadata that hold
// the route's name, where the engine reads it from there.
func (n *Needs) RouteMetadata() (namespace, key string, ok bool) {
	m := metadataAttribute.FindStringSubmatch(n.Engine.Route.Attribute)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}
