package wire

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// Target says whom a call is for.
type Target struct {
	// ID tells the call from others that are in flight on the same stream.
	ID uint64
	// Exchange is that of the call: what its chunk policies keep is kept under this
	// number. 0 has nothing kept.
	Exchange uint64
	// Config is the number of the configuration, and Chain the chain's name in it.
	Config uint64
	Chain  string
	// First is the first step, counted within the phase among the worker's steps.
	First int
}

// Reads says which parts of an exchange a group of steps can read, beside the headers.
type Reads struct {
	// Body and Trailers are those of the request, ResponseBody and ResponseTrailers those
	// of the response.
	Body, Trailers, ResponseBody, ResponseTrailers bool
	// Attributes are names of attributes; nil has all of them sent.
	Attributes []string
}

// Everything has all parts of an exchange sent.
var Everything = Reads{Body: true, Trailers: true, ResponseBody: true, ResponseTrailers: true}

// AppendCall writes a call. An error names the key of what cannot be sent, and b is to be
// thrown away then.
func AppendCall(b []byte, to Target, c *worker.Call, reads *Reads) (_ []byte, err error) {
	b = appendUint(b, callID, to.ID)
	b = appendUint(b, callExchange, to.Exchange)
	b = appendUint(b, callConfig, to.Config)
	b = appendText(b, callChain, to.Chain)
	b = appendUint(b, callPhase, uint64(c.Phase()))
	b = appendBool(b, callRejection, c.Rejection())
	b = appendUint(b, callFirst, uint64(to.First))
	b, at := open(b, callConditions)
	for i := range c.Len() {
		b = append(b, byte(c.Condition(i)))
	}
	b = shut(b, at)
	b = appendUint(b, callBudget, uint64(max(0, c.Budget())))
	b = appendUint(b, callAge, uint64(max(0, c.Age())))
	b = appendBool(b, callShadow, c.Shadow())
	if p := c.Phase(); p == policy.RequestBodyChunks || p == policy.ResponseBodyChunks {
		chunk := c.Chunk()
		b, at = open(b, callChunk)
		b = appendText(b, chunkData, chunk.Data)
		b = appendBool(b, chunkLast, chunk.Last)
		b = appendBool(b, chunkChanged, chunk.Changed)
		b = shut(b, at)
	}
	if b, err = appendView(b, c.Exchange(), reads); err != nil {
		return nil, err
	}
	return appendBool(b, callRecords, c.Records()), nil
}

func appendView(b []byte, x *exchange.Exchange, reads *Reads) ([]byte, error) {
	b, view := open(b, callView)
	b = appendText(b, viewRoute, x.Route)
	b = appendRequest(b, &x.Request, reads)
	b = appendResponse(b, &x.Response, reads)
	var err error
	if x.Principal != nil {
		if b, err = appendPrincipal(b, viewPrincipal, x.Principal); err != nil {
			return nil, err
		}
	}
	for key, value := range x.Metadata.All() {
		if err := exchange.Portable(value); err != nil {
			return nil, fmt.Errorf("metadata %q cannot be sent to a policy in another process: %w", key, err)
		}
		b = appendEntry(b, viewMetadata, key, value)
	}
	b = appendAttributes(b, x.Attributes, reads)
	b = appendText(b, viewTraceParent, x.TraceParent)
	b = appendText(b, viewTraceState, x.TraceState)
	b = appendText(b, viewRequestID, x.RequestID())
	return shut(b, view), nil
}

func appendRequest(b []byte, r *exchange.Request, reads *Reads) []byte {
	b, at := open(b, viewRequest)
	b = appendText(b, messageMethod, r.Method)
	b = appendText(b, messageScheme, r.Scheme)
	b = appendText(b, messageAuthority, r.Authority)
	b = appendText(b, messagePath, r.Path)
	b = appendHeaders(b, messageHeaders, &r.Headers)
	if reads.Trailers {
		b = appendHeaders(b, messageTrailers, &r.Trailers)
	}
	if reads.Body && r.Body.Present {
		b = appendBody(b, messageBody, r.Body.Bytes)
	}
	return shut(b, at)
}

func appendResponse(b []byte, r *exchange.Response, reads *Reads) []byte {
	b, at := open(b, viewResponse)
	b = appendUint(b, messageStatus, uint64(max(0, r.Status)))
	b = appendHeaders(b, messageHeaders, &r.Headers)
	if reads.ResponseTrailers {
		b = appendHeaders(b, messageTrailers, &r.Trailers)
	}
	if reads.ResponseBody && r.Body.Present {
		b = appendBody(b, messageBody, r.Body.Bytes)
	}
	return shut(b, at)
}

func appendBody(b []byte, num protowire.Number, body []byte) []byte {
	b, at := open(b, num)
	b = appendText(b, bodyBytes, body)
	return shut(b, at)
}

func appendPrincipal(b []byte, num protowire.Number, p *exchange.Principal) ([]byte, error) {
	b, at := open(b, num)
	b = appendText(b, principalSubject, p.Subject)
	b = appendText(b, principalIssuer, p.Issuer)
	b = appendNames(b, principalScopes, p.Scopes)
	for key, value := range p.Claims {
		if err := exchange.Portable(value); err != nil {
			return nil, fmt.Errorf("the principal's claim %q cannot be sent to a policy in another process: %w", key, err)
		}
		b = appendEntry(b, principalClaims, key, value)
	}
	return shut(b, at), nil
}

// appendAttributes leaves out a value that is none of JSON's: the proxy's attributes have
// only those.
func appendAttributes(b []byte, all exchange.Attributes, reads *Reads) []byte {
	if all == nil {
		return b
	}
	if reads.Attributes == nil {
		for name, v := range all.All() {
			b = appendAttribute(b, name, v)
		}
		return b
	}
	for _, name := range reads.Attributes {
		if v, ok := all.Lookup(name); ok {
			b = appendAttribute(b, name, v)
		}
	}
	return b
}

func appendAttribute(b []byte, name string, value any) []byte {
	if exchange.Portable(value) != nil {
		return b
	}
	return appendEntry(b, viewAttributes, name, value)
}

// DecodeCall reads a call. It fills x, which has to be the zero value or reset, with what
// the steps can read. What it returns does not share memory with b.
func DecodeCall(b []byte, exchangeOf func(Target) *exchange.Exchange) (to Target, g worker.Group, err error) {
	d := data(b)
	var view data
	for f := range d.fields(&err) {
		switch {
		case f.is(callID, protowire.VarintType):
			to.ID = f.number
		case f.is(callExchange, protowire.VarintType):
			to.Exchange = f.number
		case f.is(callConfig, protowire.VarintType):
			to.Config = f.number
		case f.is(callChain, protowire.BytesType):
			to.Chain = string(f.data)
		case f.is(callPhase, protowire.VarintType):
			if f.number >= policy.PhaseCount {
				return to, g, errEnum
			}
			g.Phase = policy.Phase(f.number)
		case f.is(callRejection, protowire.VarintType):
			g.Rejection = f.number != 0
		case f.is(callFirst, protowire.VarintType):
			g.First = int(min(f.number, worker.MaxPolicies))
			to.First = g.First
		case f.is(callConditions, protowire.BytesType):
			if g.Conditions, err = conditions(f.data); err != nil {
				return to, g, err
			}
		case f.is(callBudget, protowire.VarintType):
			g.Budget = duration(f.number)
		case f.is(callAge, protowire.VarintType):
			g.Age = duration(f.number)
		case f.is(callShadow, protowire.VarintType):
			g.Shadow = f.number != 0
		case f.is(callChunk, protowire.BytesType):
			if g.Chunk, err = chunk(f.data); err != nil {
				return to, g, err
			}
		case f.is(callView, protowire.BytesType):
			view = f.data
		case f.is(callRecords, protowire.VarintType):
			g.Records = f.number != 0
		}
	}
	if err != nil {
		return to, g, err
	}
	x := exchangeOf(to)
	if x == nil {
		return to, g, nil
	}
	x.Reset()
	return to, g, decodeView(view, x)
}

// maxDuration bounds what a duration may be; nothing takes as long.
const maxDuration = 1000 * time.Hour

func duration(n uint64) time.Duration { return time.Duration(min(n, uint64(maxDuration))) }

func conditions(d data) ([]worker.Condition, error) {
	if len(d) > worker.MaxPolicies {
		return nil, errBounds
	}
	all := make([]worker.Condition, len(d))
	for i := range d {
		if d[i] > byte(worker.ConditionFailed) {
			return nil, errEnum
		}
		all[i] = worker.Condition(d[i])
	}
	return all, nil
}

func chunk(d data) (c worker.Chunk, err error) {
	for f := range d.fields(&err) {
		switch {
		case f.is(chunkData, protowire.BytesType):
			c.Data = []byte(f.data)
		case f.is(chunkLast, protowire.VarintType):
			c.Last = f.number != 0
		case f.is(chunkChanged, protowire.VarintType):
			c.Changed = f.number != 0
		}
	}
	return c, err
}

func decodeView(d data, x *exchange.Exchange) (err error) {
	var attributes Attributes
	for f := range d.fields(&err) {
		if f.typ != protowire.BytesType {
			continue
		}
		var wrong error
		var e exchange.Entry
		switch f.num {
		case viewRoute:
			x.Route = string(f.data)
		case viewRequest:
			wrong = decodeRequest(f.data, &x.Request)
		case viewResponse:
			wrong = decodeResponse(f.data, &x.Response)
		case viewPrincipal:
			x.Principal, wrong = decodePrincipal(f.data)
		case viewMetadata:
			if e, wrong = named(f.data); wrong == nil {
				x.Metadata.Set(e.Key, e.Value)
			}
		case viewAttributes:
			e, wrong = named(f.data)
			attributes = append(attributes, e)
		case viewTraceParent:
			x.TraceParent = string(f.data)
		case viewTraceState:
			x.TraceState = string(f.data)
		case viewRequestID:
			x.SetRequestID(string(f.data))
		}
		if wrong != nil {
			return wrong
		}
	}
	if attributes != nil {
		x.Attributes = attributes
	}
	return err
}

func decodeRequest(d data, r *exchange.Request) (err error) {
	headers, trailers := r.Headers.Storage(), r.Trailers.Storage()
	for f := range d.fields(&err) {
		if f.typ != protowire.BytesType {
			continue
		}
		var wrong error
		switch f.num {
		case messageMethod:
			r.Method = string(f.data)
		case messageScheme:
			r.Scheme = string(f.data)
		case messageAuthority:
			r.Authority = string(f.data)
		case messagePath:
			r.Path = string(f.data)
		case messageHeaders:
			headers, wrong = appendPair(headers, f.data)
		case messageTrailers:
			trailers, wrong = appendPair(trailers, f.data)
		case messageBody:
			r.Body, wrong = decodeBody(f.data)
		}
		if wrong != nil {
			return wrong
		}
	}
	r.Headers.Reset(headers)
	r.Trailers.Reset(trailers)
	return err
}

func decodeResponse(d data, r *exchange.Response) (err error) {
	headers, trailers := r.Headers.Storage(), r.Trailers.Storage()
	for f := range d.fields(&err) {
		var wrong error
		switch {
		case f.is(messageStatus, protowire.VarintType):
			r.Status = int(min(f.number, 999))
		case f.is(messageHeaders, protowire.BytesType):
			headers, wrong = appendPair(headers, f.data)
		case f.is(messageTrailers, protowire.BytesType):
			trailers, wrong = appendPair(trailers, f.data)
		case f.is(messageBody, protowire.BytesType):
			r.Body, wrong = decodeBody(f.data)
		}
		if wrong != nil {
			return wrong
		}
	}
	r.Headers.Reset(headers)
	r.Trailers.Reset(trailers)
	return err
}

// pair reads a named text.
func pair(d data) (name, value string, err error) {
	for f := range d.fields(&err) {
		switch {
		case f.is(fieldName, protowire.BytesType):
			name = string(f.data)
		case f.is(fieldValue, protowire.BytesType):
			value = string(f.data)
		}
	}
	return name, value, err
}

func appendPair(to []exchange.Field, d data) ([]exchange.Field, error) {
	name, value, err := pair(d)
	return append(to, exchange.Field{Name: exchange.Lower(name), Value: value}), err
}

func decodeBody(d data) (body exchange.Body, err error) {
	body.Present = true
	for f := range d.fields(&err) {
		if f.is(bodyBytes, protowire.BytesType) {
			body.Bytes = []byte(f.data)
		}
	}
	return body, err
}

func decodePrincipal(d data) (p *exchange.Principal, err error) {
	p = &exchange.Principal{}
	for f := range d.fields(&err) {
		if f.typ != protowire.BytesType {
			continue
		}
		switch f.num {
		case principalSubject:
			p.Subject = string(f.data)
		case principalIssuer:
			p.Issuer = string(f.data)
		case principalScopes:
			p.Scopes = append(p.Scopes, string(f.data))
		case principalClaims:
			e, wrong := named(f.data)
			if wrong != nil {
				return nil, wrong
			}
			if p.Claims == nil {
				p.Claims = map[string]any{}
			}
			p.Claims[e.Key] = e.Value
		}
	}
	return p, err
}
