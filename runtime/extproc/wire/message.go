package wire

import (
	"policyengine.dev/sdk/exchange"
)

// Kind says which part of an HTTP exchange a message carries, or a reply answers.
// The values are the field numbers of ProcessingRequest's oneof.
type Kind uint8

// The kinds of messages.
const (
	// None is a message whose oneof is not set. Envoy never sends one.
	None Kind = 0

	RequestHeaders   Kind = 2
	ResponseHeaders  Kind = 3
	RequestBody      Kind = 4
	ResponseBody     Kind = 5
	RequestTrailers  Kind = 6
	ResponseTrailers Kind = 7
)

var kindNames = [...]string{
	None: "none", RequestHeaders: "request_headers", ResponseHeaders: "response_headers",
	RequestBody: "request_body", ResponseBody: "response_body",
	RequestTrailers: "request_trailers", ResponseTrailers: "response_trailers",
}

// String is the field's name in ProcessingRequest.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "unknown"
}

// IsResponse reports whether the part belongs to the response.
func (k Kind) IsResponse() bool { return k&1 != 0 }

// BodyMode is ProcessingMode.BodySendMode: how a body is shown to the processor.
type BodyMode int32

// The body modes.
const (
	BodyNone BodyMode = iota
	BodyStreamed
	BodyBuffered
	BodyBufferedPartial
	BodyFullDuplex
)

var bodyModeNames = [...]string{"NONE", "STREAMED", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED"}

// String is the mode's name in Envoy's configuration.
func (m BodyMode) String() string {
	if m >= 0 && int(m) < len(bodyModeNames) {
		return bodyModeNames[m]
	}
	return "UNKNOWN"
}

// ProtocolConfig is what Envoy says, in the first message of a stream, about how
// the filter is set up for this request.
type ProtocolConfig struct {
	RequestBody, ResponseBody BodyMode
	// SendBodyWithoutWaiting says that bodies follow headers without waiting
	// for the reply.
	SendBodyWithoutWaiting bool
}

// Message is one ProcessingRequest. It is filled by [Decode] and may be used again
// and again; strings and the body stay valid when it is.
type Message struct {
	Kind Kind
	// EndOfStream is set on headers and bodies that nothing follows.
	EndOfStream bool
	// Observability says that Envoy wants no reply.
	Observability bool
	// HasProtocol says that Protocol was sent.
	HasProtocol bool
	Protocol    ProtocolConfig

	// Pseudo has the values of the pseudo-headers.
	Pseudo Pseudo
	// Fields are the other headers, or the trailers, names in lower case. The
	// slice belongs to the message; take it out by exchanging it for another.
	Fields []exchange.Field
	// Body is the data of a body message. It is never nil for one.
	Body []byte
	// Attributes are those under [AttributesKey].
	Attributes Attributes

	// Scratch, where it is not nil, is the storage of Body, which then stays valid
	// only until the next message. [Decode] grows it.
	Scratch []byte
}

// Pseudo holds the values of pseudo-headers (RFC 9113, section 8.3), empty where
// they are absent.
type Pseudo struct {
	Method, Scheme, Authority, Path string
	// Protocol is that of an extended CONNECT (RFC 8441).
	Protocol string
	Status   string
}

// reset empties m and keeps its storage.
func (m *Message) reset() {
	clear(m.Fields)
	*m = Message{Fields: m.Fields[:0], Scratch: m.Scratch}
}

// setBody makes a copy of b the body, which is never nil.
func (m *Message) setBody(b []byte) {
	if m.Scratch == nil {
		// Unlike make, append does not clear what it copies to.
		m.Body = append([]byte{}, b...)
		return
	}
	m.Scratch = append(m.Scratch[:0], b...)
	m.Body = m.Scratch
}

// addHeader files one header. Names have to be in lower case.
func (m *Message) addHeader(name, value string) {
	if len(name) == 0 || name[0] != ':' {
		m.Fields = append(m.Fields, exchange.Field{Name: name, Value: value})
		return
	}
	switch name {
	case ":method":
		m.Pseudo.Method = value
	case ":scheme":
		m.Pseudo.Scheme = value
	case ":authority":
		m.Pseudo.Authority = value
	case ":path":
		m.Pseudo.Path = value
	case ":protocol":
		m.Pseudo.Protocol = value
	case ":status":
		m.Pseudo.Status = value
	}
}
