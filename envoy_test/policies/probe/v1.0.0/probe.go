// Package probe is a policy that does in each phase what its parameters say. It
// stands for every policy that can be, in tests of the engine; it is of no other use.
package probe

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"policyengine.dev/sdk/policy"
)

// Policy is the policy.
var Policy = policy.Define(New)

// Params say what is done in each phase. A phase that is nil is not active.
type Params struct {
	RequestHeaders   *Step   `json:"requestHeaders"`
	RequestBody      *Step   `json:"requestBody"`
	RequestTrailers  *Step   `json:"requestTrailers"`
	ResponseHeaders  *Step   `json:"responseHeaders"`
	ResponseBody     *Step   `json:"responseBody"`
	ResponseTrailers *Step   `json:"responseTrailers"`
	RequestChunks    *Chunks `json:"requestChunks"`
	ResponseChunks   *Chunks `json:"responseChunks"`
	ReadsChunks      bool    `json:"readsChunks"`
}

// Step is what is done in one phase; see policy.yaml.
type Step struct {
	Headers         Edits             `json:"headers"`
	Trailers        Edits             `json:"trailers"`
	Method          string            `json:"method"`
	Authority       string            `json:"authority"`
	Path            string            `json:"path"`
	Query           map[string]string `json:"query"`
	Status          int               `json:"status"`
	Body            *string           `json:"body"`
	BodyPrefix      string            `json:"bodyPrefix"`
	BodySize        *int              `json:"bodySize"`
	Metadata        map[string]string `json:"metadata"`
	DynamicMetadata map[string]string `json:"dynamicMetadata"`
	Tell            map[string]string `json:"tell"`
	Respond         *Respond          `json:"respond"`
	SkipRest        string            `json:"skipRest"`
	Fail            Fail              `json:"fail"`
}

// Chunks is what is done with the chunks of a body; see policy.yaml.
type Chunks struct {
	Hold      int      `json:"hold"`
	Upper     bool     `json:"upper"`
	Drop      bool     `json:"drop"`
	Repeat    int      `json:"repeat"`
	RespondAt string   `json:"respondAt"`
	Respond   *Respond `json:"respond"`
	Fail      Fail     `json:"fail"`
}

// Edits change a header list.
type Edits struct {
	Remove            []string `json:"remove"`
	Set               []Field  `json:"set"`
	Append            []Field  `json:"append"`
	AddIfAbsent       []Field  `json:"addIfAbsent"`
	OverwriteIfExists []Field  `json:"overwriteIfExists"`
}

// Field is one header. Hex is its value in hexadecimal digits, where it has bytes that
// JSON cannot hold.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Hex   string `json:"hex"`
}

// Respond is an immediate response.
type Respond struct {
	Status     int     `json:"status"`
	Headers    []Field `json:"headers"`
	Body       string  `json:"body"`
	Reason     string  `json:"reason"`
	GRPCStatus *int    `json:"grpcStatus"`
}

// Fail is a way not to come to a decision.
type Fail struct {
	Error string          `json:"error"`
	Panic string          `json:"panic"`
	Sleep policy.Duration `json:"sleep"`
	Block policy.Duration `json:"block"`
	Until string          `json:"until"`
}

// Probe is one instance.
type Probe struct {
	params Params
	clock  policy.Clock
}

// New makes an instance. Every parameter that the schema lets pass will do.
func New(p Params, host policy.Host) (*Probe, error) { return &Probe{p, host.Clock}, nil }

// ActivePhases implements policy.PhaseChooser.
func (p *Probe) ActivePhases() policy.PhaseSet {
	var s policy.PhaseSet
	for phase, active := range map[policy.Phase]bool{
		policy.RequestHeaders: p.params.RequestHeaders != nil, policy.ResponseHeaders: p.params.ResponseHeaders != nil,
		policy.RequestBody: p.params.RequestBody != nil, policy.ResponseBody: p.params.ResponseBody != nil,
		policy.RequestBodyChunks: p.params.RequestChunks != nil, policy.ResponseBodyChunks: p.params.ResponseChunks != nil,
		policy.RequestTrailers: p.params.RequestTrailers != nil, policy.ResponseTrailers: p.params.ResponseTrailers != nil,
	} {
		if active {
			s = s.With(phase)
		}
	}
	return s
}

// SkipsSteps implements policy.Skipper.
func (p *Probe) SkipsSteps() bool {
	skips := func(s *Step) bool { return s != nil && s.SkipRest != "" }
	return skips(p.params.RequestHeaders) || skips(p.params.RequestBody) || skips(p.params.RequestTrailers)
}

// HoldsChunks implements policy.ChunkHolder.
func (p *Probe) HoldsChunks() bool {
	holds := func(c *Chunks) bool { return c != nil && c.Hold > 0 }
	return holds(p.params.RequestChunks) || holds(p.params.ResponseChunks)
}

// ReadsChunks implements policy.ChunkReader.
func (p *Probe) ReadsChunks() bool { return p.params.ReadsChunks }

// OnRequestHeaders implements the phase.
func (p *Probe) OnRequestHeaders(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	return p.request(ctx, p.params.RequestHeaders, req, false)
}

// OnRequestBody implements the phase.
func (p *Probe) OnRequestBody(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	return p.request(ctx, p.params.RequestBody, req, false)
}

// OnRequestTrailers implements the phase.
func (p *Probe) OnRequestTrailers(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	return p.request(ctx, p.params.RequestTrailers, req, true)
}

// OnResponseHeaders implements the phase.
func (p *Probe) OnResponseHeaders(ctx context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	return p.response(ctx, p.params.ResponseHeaders, resp, false)
}

// OnResponseBody implements the phase.
func (p *Probe) OnResponseBody(ctx context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	return p.response(ctx, p.params.ResponseBody, resp, false)
}

// OnResponseTrailers implements the phase.
func (p *Probe) OnResponseTrailers(ctx context.Context, resp *policy.ResponseContext) (policy.ResponseAction, error) {
	return p.response(ctx, p.params.ResponseTrailers, resp, true)
}

// OnRequestBodyChunk implements the phase.
func (p *Probe) OnRequestBodyChunk(ctx context.Context, _ *policy.RequestContext, chunk *policy.Chunk) (policy.ChunkAction, error) {
	return p.chunk(ctx, p.params.RequestChunks, chunk)
}

// OnResponseBodyChunk implements the phase.
func (p *Probe) OnResponseBodyChunk(ctx context.Context, _ *policy.ResponseContext, chunk *policy.Chunk) (policy.ChunkAction, error) {
	return p.chunk(ctx, p.params.ResponseChunks, chunk)
}

func (p *Probe) request(ctx context.Context, s *Step, req *policy.RequestContext, trailers bool) (policy.RequestAction, error) {
	if err := p.fail(ctx, s.Fail); err != nil {
		return nil, err
	}
	if s.Respond != nil {
		return s.Respond.action(), nil
	}
	m := &policy.RequestMutation{
		Headers: s.Headers.mutation(), Trailers: s.Trailers.mutation(),
		Method: s.Method, Authority: s.Authority, Path: s.Path, Body: s.body(req.Body()),
		Metadata: entries(s.Metadata), DynamicMetadata: entries(s.DynamicMetadata),
	}
	for _, name := range sorted(s.Query) {
		m.Query.Set = append(m.Query.Set, policy.Param{Name: name, Value: s.Query[name]})
	}
	told := s.tell(view{req.Body(), req.Attribute, req.Metadata, req.Headers(), req.Trailers()})
	if trailers {
		m.Trailers.Set = append(m.Trailers.Set, told...)
	} else {
		m.Headers.Set = append(m.Headers.Set, told...)
	}
	if s.SkipRest != "" {
		return &policy.SkipRest{Mutation: m, Reason: s.SkipRest}, nil
	}
	return m, nil
}

func (p *Probe) response(ctx context.Context, s *Step, resp *policy.ResponseContext, trailers bool) (policy.ResponseAction, error) {
	if err := p.fail(ctx, s.Fail); err != nil {
		return nil, err
	}
	if s.Respond != nil {
		return s.Respond.action(), nil
	}
	m := &policy.ResponseMutation{
		Headers: s.Headers.mutation(), Trailers: s.Trailers.mutation(), Status: s.Status, Body: s.body(resp.Body()),
		Metadata: entries(s.Metadata), DynamicMetadata: entries(s.DynamicMetadata),
	}
	told := s.tell(view{resp.Body(), resp.Attribute, resp.Metadata, resp.Headers(), resp.Trailers()})
	if trailers {
		m.Trailers.Set = append(m.Trailers.Set, told...)
	} else {
		m.Headers.Set = append(m.Headers.Set, told...)
	}
	return m, nil
}

func (p *Probe) chunk(ctx context.Context, c *Chunks, chunk *policy.Chunk) (policy.ChunkAction, error) {
	if err := p.fail(ctx, c.Fail); err != nil {
		return nil, err
	}
	switch {
	case c.Respond != nil && bytes.Contains(chunk.Data, []byte(c.RespondAt)):
		return c.Respond.action(), nil
	case c.Hold > 0 && len(chunk.Data) < c.Hold && !chunk.Last:
		return policy.Hold(), nil
	case c.Drop:
		return policy.ReplaceChunk(nil), nil
	case c.Repeat > 0:
		return policy.ReplaceChunk(bytes.Repeat(chunk.Data, c.Repeat)), nil
	case c.Upper:
		return policy.ReplaceChunk(bytes.ToUpper(chunk.Data)), nil
	}
	return nil, nil
}

func (p *Probe) fail(ctx context.Context, f Fail) error {
	if f.Block > 0 {
		<-p.clock.NewTimer(f.Block.Std()).C()
	}
	if f.Sleep > 0 {
		timer := p.clock.NewTimer(f.Sleep.Std())
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.Until != "" {
		if err := p.appears(ctx, f.Until); err != nil {
			return err
		}
	}
	if f.Panic != "" {
		panic(f.Panic)
	}
	if f.Error != "" {
		return errors.New(f.Error)
	}
	return nil
}

// appears waits for a file, by which a test says when a policy may go on.
func (p *Probe) appears(ctx context.Context, path string) error {
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		timer := p.clock.NewTimer(5 * time.Millisecond)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func (r *Respond) action() *policy.ImmediateResponse {
	return &policy.ImmediateResponse{
		Status: r.Status, Headers: fields(r.Headers), Body: []byte(r.Body), Reason: r.Reason, GRPCStatus: r.GRPCStatus,
	}
}

func (s *Step) body(came []byte) policy.Body {
	switch {
	case s.Body != nil:
		return policy.NewBody([]byte(*s.Body))
	case s.BodySize != nil:
		return policy.NewBody(bytes.Repeat([]byte("b"), *s.BodySize))
	case s.BodyPrefix != "":
		return policy.NewBody(append([]byte(s.BodyPrefix), came...))
	}
	return policy.Body{}
}

// view is what a policy can see of either direction.
type view struct {
	body                []byte
	attribute, metadata func(string) (any, bool)
	headers, trailers   policy.Headers
}

func (s *Step) tell(v view) []policy.Header {
	var told []policy.Header
	for _, name := range sorted(s.Tell) {
		told = append(told, policy.Header{Name: name, Value: v.find(s.Tell[name])})
	}
	return told
}

func (v view) find(what string) string {
	kind, name, _ := strings.Cut(what, ":")
	var value any
	found := true
	switch kind {
	case "body_length":
		value = strconv.Itoa(len(v.body))
	case "body":
		value = string(v.body)
	case "attribute":
		value, found = v.attribute(name)
	case "metadata":
		value, found = v.metadata(name)
	case "header":
		value, found = v.headers.Lookup(name)
	case "trailer":
		value, found = v.trailers.Lookup(name)
	}
	if !found {
		return "absent"
	}
	return fmt.Sprint(value)
}

func (e Edits) mutation() policy.HeaderMutation {
	return policy.HeaderMutation{
		Remove: e.Remove, Set: fields(e.Set), Append: fields(e.Append),
		AddIfAbsent: fields(e.AddIfAbsent), OverwriteIfExists: fields(e.OverwriteIfExists),
	}
}

func fields(all []Field) []policy.Header {
	var headers []policy.Header
	for _, f := range all {
		value := f.Value
		if f.Hex != "" {
			raw, _ := hex.DecodeString(f.Hex) // the schema lets nothing else pass
			value = string(raw)
		}
		headers = append(headers, policy.Header{Name: f.Name, Value: value})
	}
	return headers
}

func entries(m map[string]string) []policy.Entry {
	var all []policy.Entry
	for _, key := range sorted(m) {
		all = append(all, policy.Entry{Key: key, Value: m[key]})
	}
	return all
}

func sorted(m map[string]string) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
