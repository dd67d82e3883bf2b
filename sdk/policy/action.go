package policy

// RequestAction is what a request phase answers: nil to continue, a
// [*RequestMutation], a [*SkipRest], or an [*ImmediateResponse]. A type that embeds one of them is no
// action, although it compiles as one: answering it is an error.
type RequestAction interface{ requestAction() }

// ResponseAction is what a response phase answers: nil to continue, a
// [*ResponseMutation], or an [*ImmediateResponse].
type ResponseAction interface{ responseAction() }

// ChunkAction is what a chunk phase answers: nil to pass the chunk, [ReplaceChunk],
// [Hold], or an [*ImmediateResponse] (which resets a stream whose response has
// already begun).
type ChunkAction interface{ chunkAction() }

// Header is one header field. Names may be in any case; on the wire they are in
// lower case.
type Header struct {
	Name  string
	Value string
}

// HeaderMutation changes a header list. Its parts are applied in the order in which
// they stand here, each from first to last.
type HeaderMutation struct {
	// Remove deletes every field of these names.
	Remove []string
	// Set leaves one field of the name, with this value.
	Set []Header
	// OverwriteIfExists is Set where a field of the name is there.
	OverwriteIfExists []Header
	// Append adds a field after those of the name that are there.
	Append []Header
	// AddIfAbsent adds a field where none of the name is there.
	AddIfAbsent []Header
}

// IsZero reports whether the mutation changes nothing.
func (m *HeaderMutation) IsZero() bool {
	return len(m.Remove)+len(m.Set)+len(m.OverwriteIfExists)+len(m.Append)+len(m.AddIfAbsent) == 0
}

// QueryMutation changes the query of the request's target (RFC 3986, section 3.4).
// Names and values are plain; the runtime encodes them. What is not named stays as
// it was, byte for byte and in its place. Applied in the order of the fields.
type QueryMutation struct {
	// Remove deletes every parameter of these names.
	Remove []string
	// Set leaves one parameter of the name.
	Set []Param
	// Append adds a parameter at the end.
	Append []Param
}

// IsZero reports whether the mutation changes nothing.
func (m *QueryMutation) IsZero() bool {
	return len(m.Remove)+len(m.Set)+len(m.Append) == 0
}

// Param is one query parameter.
type Param struct {
	Name  string
	Value string
}

// Entry is one named value. Values that are to leave the process are in JSON's Go
// types: string, float64, bool, nil, []any, map[string]any.
type Entry struct {
	Key   string
	Value any
}

// Body is a new body. The zero value leaves the body as it is; make one with
// [NewBody].
type Body struct {
	bytes []byte
	set   bool
}

// NewBody returns b, which may be empty, as a new body. The runtime keeps b: do not
// modify it afterwards.
func NewBody(b []byte) Body { return Body{bytes: b, set: true} }

// Bytes returns the new body, and whether there is one.
func (b Body) Bytes() ([]byte, bool) { return b.bytes, b.set }

// RequestMutation changes the request. The zero value changes nothing. It must not
// be modified after it has been returned.
type RequestMutation struct {
	// Headers changes the headers.
	Headers HeaderMutation
	// Trailers changes the trailers; in the trailers phase only.
	Trailers HeaderMutation
	// Method, Authority and Path replace what the request has; empty leaves it.
	// Path is the part before the query, which stays; a Path that contains "?"
	// replaces both.
	Method, Authority, Path string
	// Query changes the query, after Path has been applied.
	Query QueryMutation
	// Body replaces the body; in the body phase only.
	Body Body
	// Principal says who the request was authenticated as; nil says nothing.
	Principal *Principal
	// Metadata is told to later policies of the same exchange.
	Metadata []Entry
	// DynamicMetadata is told to Envoy, under the runtime's namespace.
	DynamicMetadata []Entry
}

// ResponseMutation changes the response. The zero value changes nothing. It must
// not be modified after it has been returned.
type ResponseMutation struct {
	// Headers changes the headers.
	Headers HeaderMutation
	// Trailers changes the trailers; in the trailers phase only.
	Trailers HeaderMutation
	// Status replaces the status, 200 to 599; 0 leaves it. With 204, 205
	// and 304 the response loses its body.
	Status int
	// Body replaces the body; in the body phase only.
	Body Body
	// Metadata is told to later policies of the same exchange.
	Metadata []Entry
	// DynamicMetadata is told to Envoy, under the runtime's namespace.
	DynamicMetadata []Entry
}

// SkipRest lets the request go on without the steps behind this one in the chain that the
// configuration marks with skippable: true. Steps without that mark run as ever, and so may one
// deny. A step is left out for the whole exchange, its response phases included, as if its
// condition were false; its condition is not evaluated. One that has run already, in an earlier
// phase, is not left out. A step in shadow mode skips nothing.
//
// A policy that answers it implements [Skipper]. It must not be modified after it has been
// returned.
type SkipRest struct {
	// Mutation changes the request; nil changes nothing.
	Mutation *RequestMutation
	// Reason says why, as [ImmediateResponse.Reason] does. It is in the record of each step that
	// is left out, and must not be empty.
	Reason string
}

// ImmediateResponse answers the client in the upstream's place and ends the chain.
// It must not be modified after it has been returned.
type ImmediateResponse struct {
	// Status is the HTTP status, 200 to 599.
	Status int
	// Headers are set on the response, in order; a name that occurs twice is
	// sent twice. content-length is the runtime's.
	Headers []Header
	// Body may be empty.
	Body []byte
	// GRPCStatus is the status for gRPC requests (google.rpc.Code); nil lets
	// it follow from Status.
	GRPCStatus *int
	// Reason says why in a form for machines: upper case letters, digits and
	// underscores, such as "API_KEY_MISSING". It is in the response code
	// details, metrics, logs and decision records. Empty counts as "REJECTED".
	Reason string
	// Cause tells the operator what was wrong where Reason does not say all, such
	// as which claim of a token. It is in decision records and in the log of
	// refusals, cut to 256 bytes; the client does not get it. It must not hold a secret, or anything that is
	// the client's to choose.
	Cause string
}

type replaceChunk struct{ data []byte }

// ReplaceChunk sends data, which may be empty, in place of the chunk (and of what
// was held before it). The runtime keeps data: do not modify it afterwards.
func ReplaceChunk(data []byte) ChunkAction { return replaceChunk{data} }

// ChunkReplacement returns the data of a [ReplaceChunk] action. It is for runtimes.
func ChunkReplacement(a ChunkAction) (data []byte, ok bool) {
	r, ok := a.(replaceChunk)
	return r.data, ok
}

type hold struct{}

// Hold keeps the chunk back: the next chunk comes with it in front, up to the
// runtime's limit. The last chunk cannot be held. See [ChunkHolder].
func Hold() ChunkAction { return hold{} }

// IsHold reports whether a is [Hold]. It is for runtimes.
func IsHold(a ChunkAction) bool { _, ok := a.(hold); return ok }

func (*RequestMutation) requestAction()    {}
func (*SkipRest) requestAction()           {}
func (*ImmediateResponse) requestAction()  {}
func (*ResponseMutation) responseAction()  {}
func (*ImmediateResponse) responseAction() {}
func (*ImmediateResponse) chunkAction()    {}
func (replaceChunk) chunkAction()          {}
func (hold) chunkAction()                  {}
