package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// Bounds of what a failure says, which is for logs and records.
const (
	maxText  = 4 << 10
	maxStack = 16 << 10
)

// AppendAnswers writes the answers of a call. They have to be those of a [worker.Callee].
func AppendAnswers(b []byte, call uint64, answers []worker.Answer) []byte {
	b = appendUint(b, answersCall, call)
	for i := range answers {
		b = appendAnswer(b, &answers[i])
	}
	return b
}

// AppendError writes that a call makes no sense.
func AppendError(b []byte, call uint64, text string) []byte {
	b = appendUint(b, answersCall, call)
	return appendItem(b, answersError, text[:min(len(text), maxText)])
}

func appendAnswer(b []byte, a *worker.Answer) []byte {
	b, at := open(b, answersAnswers)
	b = appendUint(b, answerKind, uint64(a.Kind))
	b = appendUint(b, answerAt, uint64(max(0, a.At)))
	b = appendUint(b, answerTook, uint64(max(0, a.Took)))
	switch a.Kind {
	case worker.Acted:
		b = appendActions(b, a)
	case worker.Failed:
		b = appendFailure(b, &a.Failure)
	}
	b = appendNoted(b, a.Noted)
	return shut(b, at)
}

func appendFailure(b []byte, f *worker.Failure) []byte {
	b, at := open(b, answerFailure)
	b = appendUint(b, failureKind, uint64(f.Kind))
	if f.Err != nil {
		text, stack := f.Err.Error(), f.Stack()
		b = appendText(b, failureText, text[:min(len(text), maxText)])
		b = appendText(b, failureStack, stack[:min(len(stack), maxStack)])
	}
	return shut(b, at)
}

func appendActions(b []byte, a *worker.Answer) []byte {
	switch m := a.Request.(type) {
	case *policy.RequestMutation:
		if m != nil {
			b = appendRequestMutation(b, m)
		}
	case *policy.ImmediateResponse:
		b = appendImmediate(b, m)
	}
	switch m := a.Response.(type) {
	case *policy.ResponseMutation:
		if m != nil {
			b = appendResponseMutation(b, m)
		}
	case *policy.ImmediateResponse:
		b = appendImmediate(b, m)
	}
	if m, ok := a.Chunk.(*policy.ImmediateResponse); ok {
		b = appendImmediate(b, m)
	}
	if data, ok := policy.ChunkReplacement(a.Chunk); ok {
		b = appendBody(b, answerReplace, data)
	}
	return appendBool(b, answerHold, policy.IsHold(a.Chunk))
}

func appendRequestMutation(b []byte, m *policy.RequestMutation) []byte {
	b, at := open(b, answerRequest)
	b = appendHeaderMutation(b, mutationHeaders, &m.Headers)
	b = appendHeaderMutation(b, mutationTrailers, &m.Trailers)
	if body, ok := m.Body.Bytes(); ok {
		b = appendBody(b, mutationBody, body)
	}
	b = appendEntries(b, mutationMetadata, m.Metadata)
	b = appendEntries(b, mutationDynamic, m.DynamicMetadata)
	b = appendText(b, mutationMethod, m.Method)
	b = appendText(b, mutationAuthority, m.Authority)
	b = appendText(b, mutationPath, m.Path)
	if !m.Query.IsZero() {
		var query int
		b, query = open(b, mutationQuery)
		b = appendNames(b, queryRemove, m.Query.Remove)
		b = appendParams(b, querySet, m.Query.Set)
		b = appendParams(b, queryAppend, m.Query.Append)
		b = shut(b, query)
	}
	if m.Principal != nil {
		// That it is portable has been found out by the callee.
		b, _ = appendPrincipal(b, mutationPrincipal, m.Principal)
	}
	return shut(b, at)
}

func appendResponseMutation(b []byte, m *policy.ResponseMutation) []byte {
	b, at := open(b, answerResponse)
	b = appendHeaderMutation(b, mutationHeaders, &m.Headers)
	b = appendHeaderMutation(b, mutationTrailers, &m.Trailers)
	if body, ok := m.Body.Bytes(); ok {
		b = appendBody(b, mutationBody, body)
	}
	b = appendEntries(b, mutationMetadata, m.Metadata)
	b = appendEntries(b, mutationDynamic, m.DynamicMetadata)
	b = appendInt(b, mutationStatus, m.Status)
	return shut(b, at)
}

// appendInt writes a number that may be anything, since it is checked where it is applied.
func appendInt(b []byte, num protowire.Number, v int) []byte {
	return appendUint(b, num, uint64(int64(v)))
}

func appendHeaderMutation(b []byte, num protowire.Number, m *policy.HeaderMutation) []byte {
	if m.IsZero() {
		return b
	}
	b, at := open(b, num)
	b = appendNames(b, headersRemove, m.Remove)
	b = appendPolicyHeaders(b, headersSet, m.Set)
	b = appendPolicyHeaders(b, headersOverwrite, m.OverwriteIfExists)
	b = appendPolicyHeaders(b, headersAppend, m.Append)
	b = appendPolicyHeaders(b, headersAdd, m.AddIfAbsent)
	return shut(b, at)
}

func appendEntries(b []byte, num protowire.Number, entries []policy.Entry) []byte {
	for i := range entries {
		b = appendEntry(b, num, entries[i].Key, entries[i].Value)
	}
	return b
}

func appendImmediate(b []byte, ir *policy.ImmediateResponse) []byte {
	b, at := open(b, answerImmediate)
	b = appendInt(b, immediateStatus, ir.Status)
	b = appendPolicyHeaders(b, immediateHeaders, ir.Headers)
	if ir.Body != nil {
		b = appendItem(b, immediateBody, ir.Body)
	}
	if ir.GRPCStatus != nil {
		b = protowire.AppendTag(b, immediateGRPCStatus, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(int64(*ir.GRPCStatus)))
	}
	b = appendText(b, immediateReason, ir.Reason)
	b = appendText(b, immediateCause, ir.Cause)
	return shut(b, at)
}

// Answers are the answers of one call.
type Answers struct {
	Call    uint64
	Answers []worker.Answer
	// Error says that the call makes no sense to the worker, and why.
	Error string
}

// DecodeAnswers reads answers. phaseOf returns the phase of the call, or false for a call
// that nobody has made. What it returns does not share memory with b.
func DecodeAnswers(b []byte, phaseOf func(call uint64) (policy.Phase, bool)) (as Answers, err error) {
	d := data(b)
	var raw []data
	for f := range d.fields(&err) {
		switch {
		case f.is(answersCall, protowire.VarintType):
			as.Call = f.number
		case f.is(answersAnswers, protowire.BytesType):
			if len(raw) == worker.MaxPolicies {
				return as, errBounds
			}
			raw = append(raw, f.data)
		case f.is(answersError, protowire.BytesType):
			as.Error = string(f.data[:min(len(f.data), maxText)])
		}
	}
	if err != nil {
		return as, err
	}
	phase, ok := phaseOf(as.Call)
	if !ok {
		return as, nil
	}
	as.Answers = make([]worker.Answer, len(raw))
	for i := range raw {
		if err := decodeAnswer(raw[i], phase, &as.Answers[i]); err != nil {
			return as, err
		}
	}
	return as, nil
}

func decodeAnswer(d data, phase policy.Phase, a *worker.Answer) (err error) {
	var action actions
	for f := range d.fields(&err) {
		var wrong error
		switch {
		case f.is(answerKind, protowire.VarintType):
			if f.number > uint64(worker.Failed) {
				return errEnum
			}
			a.Kind = worker.AnswerKind(f.number)
		case f.is(answerAt, protowire.VarintType):
			a.At = duration(f.number)
		case f.is(answerTook, protowire.VarintType):
			a.Took = duration(f.number)
		case f.is(answerFailure, protowire.BytesType):
			a.Failure, wrong = decodeFailure(f.data)
		case f.is(answerNoted, protowire.BytesType):
			a.Noted, wrong = decodeNoted(f.data)
		default:
			wrong = action.decode(f)
		}
		if wrong != nil {
			return wrong
		}
	}
	if a.Kind == worker.Acted {
		action.put(phase, a)
	}
	return err
}

func decodeFailure(d data) (worker.Failure, error) {
	var kind worker.FailureKind
	var text, stack data
	var err error
	for f := range d.fields(&err) {
		switch {
		case f.is(failureKind, protowire.VarintType):
			// One that is not known has failed in a way that is not known.
			if kind = worker.Unanswered; f.number <= uint64(worker.BadAction) {
				kind = worker.FailureKind(f.number)
			}
		case f.is(failureText, protowire.BytesType):
			text = f.data[:min(len(f.data), maxText)]
		case f.is(failureStack, protowire.BytesType):
			stack = f.data[:min(len(f.data), maxStack)]
		}
	}
	if kind == worker.NoTime {
		return worker.Failure{Kind: kind}, err
	}
	return worker.NewFailure(kind, string(text), []byte(stack)), err
}

// actions are what an answer may hold.
type actions struct {
	request   *policy.RequestMutation
	response  *policy.ResponseMutation
	immediate *policy.ImmediateResponse
	chunk     policy.ChunkAction
}

func (a *actions) decode(f field) (err error) {
	switch {
	case f.is(answerRequest, protowire.BytesType):
		a.request, err = decodeRequestMutation(f.data)
	case f.is(answerResponse, protowire.BytesType):
		a.response, err = decodeResponseMutation(f.data)
	case f.is(answerImmediate, protowire.BytesType):
		a.immediate, err = decodeImmediate(f.data)
	case f.is(answerReplace, protowire.BytesType):
		var body exchange.Body
		body, err = decodeBody(f.data)
		a.chunk = policy.ReplaceChunk(body.Bytes)
	case f.is(answerHold, protowire.VarintType):
		if f.number != 0 {
			a.chunk = policy.Hold()
		}
	}
	return err
}

// put makes what was read the answer's action. An immediate response goes before all else.
// An action that the phase does not have is kept, so that it is refused where it is
// applied.
func (a *actions) put(phase policy.Phase, to *worker.Answer) {
	chunks := phase == policy.RequestBodyChunks || phase == policy.ResponseBodyChunks
	switch {
	case a.immediate != nil && chunks:
		to.Chunk = a.immediate
	case a.immediate != nil && phase.IsResponse():
		to.Response = a.immediate
	case a.immediate != nil:
		to.Request = a.immediate
	default:
		if to.Chunk = a.chunk; a.request != nil {
			to.Request = a.request
		}
		if a.response != nil {
			to.Response = a.response
		}
	}
}

func decodeRequestMutation(d data) (m *policy.RequestMutation, err error) {
	m = &policy.RequestMutation{}
	for f := range d.fields(&err) {
		if f.typ != protowire.BytesType {
			continue
		}
		var wrong error
		switch f.num {
		case mutationHeaders:
			wrong = decodeHeaderMutation(f.data, &m.Headers)
		case mutationTrailers:
			wrong = decodeHeaderMutation(f.data, &m.Trailers)
		case mutationBody:
			m.Body, wrong = newBody(f.data)
		case mutationMetadata:
			m.Metadata, wrong = addEntry(m.Metadata, f.data)
		case mutationDynamic:
			m.DynamicMetadata, wrong = addEntry(m.DynamicMetadata, f.data)
		case mutationMethod:
			m.Method = string(f.data)
		case mutationAuthority:
			m.Authority = string(f.data)
		case mutationPath:
			m.Path = string(f.data)
		case mutationQuery:
			wrong = decodeQuery(f.data, &m.Query)
		case mutationPrincipal:
			m.Principal, wrong = decodePrincipal(f.data)
		}
		if wrong != nil {
			return nil, wrong
		}
	}
	return m, err
}

func decodeResponseMutation(d data) (m *policy.ResponseMutation, err error) {
	m = &policy.ResponseMutation{}
	for f := range d.fields(&err) {
		var wrong error
		switch {
		case f.is(mutationStatus, protowire.VarintType):
			m.Status = int(int64(f.number))
		case f.is(mutationHeaders, protowire.BytesType):
			wrong = decodeHeaderMutation(f.data, &m.Headers)
		case f.is(mutationTrailers, protowire.BytesType):
			wrong = decodeHeaderMutation(f.data, &m.Trailers)
		case f.is(mutationBody, protowire.BytesType):
			m.Body, wrong = newBody(f.data)
		case f.is(mutationMetadata, protowire.BytesType):
			m.Metadata, wrong = addEntry(m.Metadata, f.data)
		case f.is(mutationDynamic, protowire.BytesType):
			m.DynamicMetadata, wrong = addEntry(m.DynamicMetadata, f.data)
		}
		if wrong != nil {
			return nil, wrong
		}
	}
	return m, err
}

func newBody(d data) (policy.Body, error) {
	body, err := decodeBody(d)
	return policy.NewBody(body.Bytes), err
}

func addEntry(to []policy.Entry, d data) ([]policy.Entry, error) {
	e, err := named(d)
	return append(to, policy.Entry{Key: e.Key, Value: e.Value}), err
}

func addHeader(to []policy.Header, d data) ([]policy.Header, error) {
	name, value, err := pair(d)
	return append(to, policy.Header{Name: name, Value: value}), err
}

func addParam(to []policy.Param, d data) ([]policy.Param, error) {
	name, value, err := pair(d)
	return append(to, policy.Param{Name: name, Value: value}), err
}

func decodeHeaderMutation(d data, m *policy.HeaderMutation) (err error) {
	for f := range d.fields(&err) {
		if f.typ != protowire.BytesType {
			continue
		}
		var wrong error
		switch f.num {
		case headersRemove:
			m.Remove = append(m.Remove, string(f.data))
		case headersSet:
			m.Set, wrong = addHeader(m.Set, f.data)
		case headersOverwrite:
			m.OverwriteIfExists, wrong = addHeader(m.OverwriteIfExists, f.data)
		case headersAppend:
			m.Append, wrong = addHeader(m.Append, f.data)
		case headersAdd:
			m.AddIfAbsent, wrong = addHeader(m.AddIfAbsent, f.data)
		}
		if wrong != nil {
			return wrong
		}
	}
	return err
}

func decodeQuery(d data, m *policy.QueryMutation) (err error) {
	for f := range d.fields(&err) {
		if f.typ != protowire.BytesType {
			continue
		}
		var wrong error
		switch f.num {
		case queryRemove:
			m.Remove = append(m.Remove, string(f.data))
		case querySet:
			m.Set, wrong = addParam(m.Set, f.data)
		case queryAppend:
			m.Append, wrong = addParam(m.Append, f.data)
		}
		if wrong != nil {
			return wrong
		}
	}
	return err
}

func decodeImmediate(d data) (ir *policy.ImmediateResponse, err error) {
	ir = &policy.ImmediateResponse{}
	for f := range d.fields(&err) {
		var wrong error
		switch {
		case f.is(immediateStatus, protowire.VarintType):
			ir.Status = int(int64(f.number))
		case f.is(immediateHeaders, protowire.BytesType):
			ir.Headers, wrong = addHeader(ir.Headers, f.data)
		case f.is(immediateBody, protowire.BytesType):
			ir.Body = []byte(f.data)
		case f.is(immediateGRPCStatus, protowire.VarintType):
			status := int(int64(f.number))
			ir.GRPCStatus = &status
		case f.is(immediateReason, protowire.BytesType):
			ir.Reason = string(f.data)
		case f.is(immediateCause, protowire.BytesType):
			ir.Cause = string(f.data)
		}
		if wrong != nil {
			return nil, wrong
		}
	}
	return ir, err
}
