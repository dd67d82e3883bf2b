package policy

// RequestAction is the result of a request phase: nil to continue, a [*RequestMutation], a
// [*SkipRest], or an [*ImmediateResponse]. A type that embeds one of them compiles, but
// returning it is an error.
type RequestAction interface{ requestAction() }

// ResponseAction is the result of a response phase: nil to continue, a [*ResponseMutation],
// or an [*ImmediateResponse].
type ResponseAction interface{ responseAction() }

// ChunkAction is the result of a chunk phase: nil to pass the chunk, [ReplaceChunk],
// [Hold], or an [*ImmediateResponse], which resets the stream if the response has already
// begun.
type ChunkAction interface{ chunkAction() }

// Header is one header field. The name may be in any case; it is sent in lower case.
type Header struct {
	Name  string
	Value string
}

// HeaderMutation changes a header list. Its fields are applied in the order of their
// declaration, and each field from first to last. The zero value changes nothing.
type HeaderMutation struct {
	// Remove deletes all fields with these names.
	Remove []string
	// Set replaces all fields of the name by one field with this value.
	Set []Header
	// OverwriteIfExists is like Set, but only if a field with the name exists.
	OverwriteIfExists []Header
	// Append adds a field after the existing fields with the name.
	Append []Header
	// AddIfAbsent adds a field if none with the name exists.
	AddIfAbsent []Header
}

// IsZero reports whether the mutation changes nothing.
func (m *HeaderMutation) IsZero() bool {
	return len(m.Remove)+len(m.Set)+len(m.OverwriteIfExists)+len(m.Append)+len(m.AddIfAbsent) == 0
}

// QueryMutation changes the query of the request's target (RFC 3986, section 3.4). Names
// and values are not encoded; the runtime encodes them. Other parameters keep their bytes
// and their position. The fields are applied in the order of their declaration. The zero
// value changes nothing.
type QueryMutation struct {
	// Remove deletes all parameters with these names.
	Remove []string
	// Set replaces all parameters with the name by one.
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

// Entry is one named value. A value that is sent to another process must have one of JSON's
// Go types: string, float64, bool, nil, []any, map[string]any.
type Entry struct {
	Key   string
	Value any
}

// Body is a new body. The zero value keeps the existing body. Use [NewBody] to create one.
type Body struct {
	bytes []byte
	set   bool
}

// NewBody returns b, which may be empty, as a new body. The runtime keeps b: do not modify
// it afterwards.
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
	// Method, Authority and Path replace those of the request; empty keeps them. Path is
	// the part before the query, which stays. A Path that contains "?" replaces both.
	Method, Authority, Path string
	// Query changes the query, after Path has been applied.
	Query QueryMutation
	// Body replaces the body; in the body phase only.
	Body Body
	// Principal is the authenticated caller; nil keeps the present one.
	Principal *Principal
	// Metadata is visible to later policies of the same exchange.
	Metadata []Entry
	// DynamicMetadata is sent to Envoy, under the runtime's namespace.
	DynamicMetadata []Entry
}

// ResponseMutation changes the response. The zero value changes nothing. It must
// not be modified after it has been returned.
type ResponseMutation struct {
	// Headers changes the headers.
	Headers HeaderMutation
	// Trailers changes the trailers; in the trailers phase only.
	Trailers HeaderMutation
	// Status replaces the status, 200 to 599; 0 keeps it. With 204, 205 and 304 the
	// response loses its body.
	Status int
	// Body replaces the body; in the body phase only.
	Body Body
	// Metadata is visible to later policies of the same exchange.
	Metadata []Entry
	// DynamicMetadata is sent to Envoy, under the runtime's namespace.
	DynamicMetadata []Entry
}

// SkipRest passes the request and skips the later steps of the chain that the configuration
// marks with skippable: true. Steps without that mark run, and may deny. A step is skipped
// for the whole exchange, including its response phases, as if its condition were false;
// its condition is not evaluated. A step that already ran in an earlier phase is not
// skipped. In shadow mode nothing is skipped.
//
// A policy that returns it must implement [Skipper]. It must not be modified after it was
// returned.
type SkipRest struct {
	// Mutation changes the request; nil changes nothing.
	Mutation *RequestMutation
	// Reason has the form of [ImmediateResponse.Reason]. It appears in the record of each
	// skipped step, and must not be empty.
	Reason string
}

// ImmediateResponse answers the client instead of the upstream and ends the chain. It must
// not be modified after it was returned.
type ImmediateResponse struct {
	// Status is the HTTP status, 200 to 599.
	Status int
	// Headers are the headers of the response, in order. A name that occurs twice is sent twice. The
	// runtime sets content-length.
	Headers []Header
	// Body may be empty.
	Body []byte
	// GRPCStatus is the status for gRPC requests (google.rpc.Code). If nil, it follows from
	// Status.
	GRPCStatus *int
	// Reason is a machine-readable reason: upper-case letters, digits and underscores, such
	// as "API_KEY_MISSING". It appears in the response code details, metrics, logs and
	// decision records. Empty means "REJECTED".
	Reason string
	// Cause gives operators details that Reason does not have, such as the claim of a token
	// that is wrong. It appears in decision records and in the log of refusals, cut to 256
	// bytes. The client does not get it. It must not contain a secret, or data that the
	// client chose.
	Cause string
}

type replaceChunk struct{ data []byte }

// ReplaceChunk sends data, which may be empty, instead of the chunk and of what was held
// before it. The runtime keeps data: do not modify it afterwards. A policy that implements
// [ChunkReader] must not return it.
// error of a policy that is a [ChunkReader].
func ReplaceChunk(data []byte) ChunkAction { return replaceChunk{data} }

// ChunkReplacement returns the data of a [ReplaceChunk] action. It is for runtimes.
func ChunkReplacement(a ChunkAction) (data []byte, ok bool) {
	r, ok := a.(replaceChunk)
	return r.data, ok
}

type hold struct{}

// Hold withholds the chunk: the next chunk begins with it, up to the runtime's limit. The
// last chunk cannot be held. See [ChunkHolder].
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
