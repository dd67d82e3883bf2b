package check

import (
	"errors"
	"fmt"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// metadata looks for entries of the gRPC metadata with which Envoy cannot make a
// client. It finds out only when a request comes, and then lets it pass.
func (c *checker) metadata(s *setup) {
	if s.perRoute && there(at(s.at, "grpc_service")) {
		c.metadataList(at(s.at, "grpc_service", "initial_metadata"), s.service.GetInitialMetadata(), s.in)
	}
	n := s.metadataNode()
	var list []*core.HeaderValue
	for _, item := range n.Items {
		list = append(list, as[*core.HeaderValue](item))
	}
	c.metadataList(n, list, s.in)
	if key := c.needs.Engine.Route.StreamMetadata; key != "" && !s.has(key) {
		c.found(RouteNameMissing, Error, n, s.in,
			"the engine is not told the route's name, and refuses every request with ROUTE_MISSING",
			fmt.Sprintf("add %s: %%ROUTE_NAME%% to the metadata", key))
	}
}

func (s *setup) has(key string) bool {
	for _, h := range s.metadata {
		if strings.EqualFold(h.GetKey(), key) {
			return true
		}
	}
	return false
}

func (c *checker) metadataList(n *message.Node, list []*core.HeaderValue, in scope) {
	for i, h := range list {
		then, remedy := "; Envoy makes no gRPC client with it, and lets every request pass, whatever failure_mode_allow says", "take it out"
		problem := fmt.Sprintf("%q cannot be sent as metadata", h.GetKey())
		if !strings.HasPrefix(h.GetKey(), ":") && !strings.EqualFold(h.GetKey(), "host") {
			err := checkFormat(h.GetValue())
			if err == nil {
				continue
			}
			if errors.As(err, new(fatalFormat)) {
				then = "; Envoy's process ends when the first request comes"
			}
			problem = fmt.Sprintf("%q: %v", h.GetValue(), err)
			remedy = "write it as Envoy's access log formats are, and %% for a percent sign"
		}
		c.found(InitialMetadata, Error, at(n, i), in, problem+then, remedy)
	}
}

// fatalFormat is what is wrong with a format string that Envoy does not survive.
type fatalFormat string

func (f fatalFormat) Error() string { return string(f) }

// parameters says whether a command of Envoy's format strings takes parameters.
type parameters uint8

const (
	noParameters parameters = iota
	optionalParameters
	needsParameters
)

// commands are the commands of format strings that take parameters; those that take
// none are plainCommands.
var commands = map[string]parameters{
	"CEL": needsParameters, "CLUSTER_METADATA": needsParameters, "COMMON_DURATION": needsParameters,
	"DOWNSTREAM_PEER_CERT_V_END": optionalParameters, "DOWNSTREAM_PEER_CERT_V_START": optionalParameters,
	"DYNAMIC_METADATA": needsParameters, "EMIT_TIME": optionalParameters, "EMIT_TIME_LOCAL": optionalParameters,
	"ENVIRONMENT": needsParameters, "FILTER_STATE": needsParameters, "GRPC_STATUS": optionalParameters,
	"METADATA": needsParameters, "PATH": optionalParameters, "QUERY_PARAM": needsParameters, "REQ": needsParameters,
	"RESP": needsParameters, "RESPONSE_CODE_DETAILS": optionalParameters, "START_TIME": optionalParameters,
	"START_TIME_LOCAL": optionalParameters, "STREAM_INFO_REQ": needsParameters, "TRAILER": needsParameters,
	"UPSTREAM_FILTER_STATE": needsParameters, "UPSTREAM_METADATA": needsParameters,
	"UPSTREAM_PEER_CERT_V_END": optionalParameters, "UPSTREAM_PEER_CERT_V_START": optionalParameters,
}

// plainCommands are the commands without parameters that v1.36.2 knows.
const plainCommands = `
ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID CONNECTION_TERMINATION_DETAILS
CUSTOM_FLAGS DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT
DOWNSTREAM_DIRECT_LOCAL_ADDRESS DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_LOCAL_PORT
DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_PORT
DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_HEADER_BYTES_SENT
DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_DNS_SAN
DOWNSTREAM_LOCAL_EMAIL_SAN DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_LOCAL_PORT
DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1
DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_DNS_SAN
DOWNSTREAM_PEER_EMAIL_SAN DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_IP_SAN
DOWNSTREAM_PEER_ISSUER DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT
DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT
DOWNSTREAM_REMOTE_PORT DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_VERSION
DOWNSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_WIRE_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT DURATION
FILTER_CHAIN_NAME GRPC_STATUS_NUMBER HOSTNAME LOCAL_REPLY_BODY PACKETS_RETRANSMITTED PROTOCOL
REQUESTED_SERVER_NAME REQUEST_DURATION REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESPONSE_CODE
RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES
RESPONSE_TX_DURATION ROUNDTRIP_DURATION ROUTE_NAME STREAM_ID TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT TRACE_ID
UNIQUE_ID UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_CONNECTION_ID UPSTREAM_CONNECTION_POOL_READY_DURATION
UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT
UPSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HOST UPSTREAM_HOST_NAME
UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT
UPSTREAM_LOCAL_DNS_SAN UPSTREAM_LOCAL_IP_SAN UPSTREAM_LOCAL_PORT UPSTREAM_LOCAL_URI_SAN UPSTREAM_PEER_CERT
UPSTREAM_PEER_DNS_SAN UPSTREAM_PEER_IP_SAN UPSTREAM_PEER_ISSUER UPSTREAM_PEER_SUBJECT UPSTREAM_PEER_URI_SAN
UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT
UPSTREAM_REQUEST_ATTEMPT_COUNT UPSTREAM_TLS_CIPHER UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_VERSION
UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_WIRE_BYTES_RECEIVED UPSTREAM_WIRE_BYTES_SENT VIRTUAL_CLUSTER_NAME`

func init() {
	for name := range strings.FieldsSeq(plainCommands) {
		commands[name] = noParameters
	}
}

var errPercent = errors.New("a percent sign begins no command")

// checkFormat reports what of a format string Envoy would not take, as far as names
// and the presence of parameters go.
func checkFormat(s string) error {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return nil
		}
		s = s[i+1:]
		if strings.HasPrefix(s, "%") {
			s = s[1:]
			continue
		}
		name, rest := cutName(s)
		given := strings.HasPrefix(rest, "(")
		if given {
			end := strings.IndexByte(rest, ')')
			if end < 0 {
				return errPercent
			}
			rest = rest[end+1:]
		}
		digits, cut := strings.CutPrefix(rest, ":")
		if cut {
			rest = strings.TrimLeft(digits, "0123456789")
			if len(rest) == len(digits) {
				return errPercent
			}
		}
		if name == "" || !strings.HasPrefix(rest, "%") {
			return errPercent
		}
		s = rest[1:]
		takes, known := commands[name]
		switch {
		case !known:
			return fmt.Errorf("there is no command %s", name)
		case takes == needsParameters && !given:
			return fatalFormat(name + " needs parameters")
		case takes == noParameters && given:
			return fatalFormat(name + " takes no parameters")
		case takes != needsParameters && name != "PATH" && cut:
			return fatalFormat(name + " takes no length")
		}
	}
}

func cutName(s string) (name, rest string) {
	i := 0
	for i < len(s) && (s[i] == '_' || s[i] >= 'A' && s[i] <= 'Z' || s[i] >= '0' && s[i] <= '9') {
		i++
	}
	return s[:i], s[i:]
}
