package check

import (
	"fmt"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	bufferfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	decompressor "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/decompressor/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"policyengine.dev/tools/pectl/envoyconfig/message"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// What a connection manager and the filters around the engine's make of a request has
// to fit what the chains take for granted.

// paths looks whether Envoy makes one path of those that mean the same.
func (c *checker) paths(m *manager) {
	if m.filter.fragment {
		return
	}
	var lacks []string
	if !m.msg.GetNormalizePath().GetValue() {
		lacks = append(lacks, "normalize_path")
	}
	if !m.msg.GetMergeSlashes() {
		lacks = append(lacks, "merge_slashes")
	}
	switch m.msg.GetPathWithEscapedSlashesAction() {
	case hcm.HttpConnectionManager_IMPLEMENTATION_SPECIFIC_DEFAULT, hcm.HttpConnectionManager_KEEP_UNCHANGED:
		lacks = append(lacks, "path_with_escaped_slashes_action")
	}
	if len(lacks) == 0 {
		return
	}
	severity, who := Warning, "routes and policies that compare paths take"
	if chains := namesOf(c.chainsOf(m), func(c *needs.Chain) bool { return c.ComparesPath }); len(chains) > 0 {
		severity, who = Error, fmt.Sprintf("a condition in chain %s takes", several(chains, "and"))
	}
	c.found(PathsAsWritten, severity, m.node, m.in,
		fmt.Sprintf("%s //admin, /./admin, /%%61dmin or /x%%2F..%%2Fadmin for other paths than /admin, and upstreams may not: the connection manager lacks %s", who, strings.Join(lacks, ", ")),
		"set normalize_path and merge_slashes to true, and path_with_escaped_slashes_action to UNESCAPE_AND_REDIRECT or REJECT_REQUEST")
}

func namesOf(chains []*needs.Chain, is func(*needs.Chain) bool) []string {
	var names []string
	for _, c := range chains {
		if is(c) {
			names = append(names, c.Name)
		}
	}
	return names
}

// clientCerts looks whether clients can send x-forwarded-client-cert themselves.
func (c *checker) clientCerts(m *manager) {
	details := m.msg.GetForwardClientCertDetails()
	always := details == hcm.HttpConnectionManager_ALWAYS_FORWARD_ONLY
	switch details {
	case hcm.HttpConnectionManager_FORWARD_ONLY, hcm.HttpConnectionManager_APPEND_FORWARD, hcm.HttpConnectionManager_ALWAYS_FORWARD_ONLY:
	default:
		return // Envoy removes the header, or replaces it
	}
	chains := namesOf(c.chainsOf(m), func(c *needs.Chain) bool { return c.ReadsClientCert })
	if len(chains) == 0 && !always {
		return
	}
	severity, who := Warning, "policies and upstreams that trust"
	if len(chains) > 0 {
		who = fmt.Sprintf("chain %s reads", several(chains, "and"))
		if always {
			severity = Error
		}
	}
	from := "a client with any certificate that Envoy accepts"
	if always {
		from = "any client, with a certificate or without"
	}
	remedy := "set it to SANITIZE_SET, so that Envoy replaces the header, or keep it if all clients are proxies that replace the header"
	if who == "policies and upstreams that trust" {
		who += " x-forwarded-client-cert get"
	} else {
		who += " x-forwarded-client-cert, and gets"
	}
	c.found(ClientCertHeader, severity, at(m.node, "forward_client_cert_details"), m.in,
		fmt.Sprintf("%s what is written in it by %s: with %s, Envoy passes the client's own header on", who, from, details), remedy)
}

// decompressed looks for a decompressor that has responses before the engine's filter
// has them.
func (c *checker) decompressed(m *manager, chain *needs.Chain) {
	if chain.Response.Body == extproc.ProcessingMode_NONE {
		return
	}
	for _, f := range m.decompressors {
		direction := as[*decompressor.Decompressor](at(f, "typed_config")).GetResponseDirectionConfig().GetCommonConfig().GetEnabled()
		if direction.GetDefaultValue() != nil && !direction.GetDefaultValue().GetValue() && direction.GetRuntimeKey() == "" {
			continue // it leaves responses alone
		}
		then := "loses its body"
		if chain.Response.Body == extproc.ProcessingMode_BUFFERED {
			then = "hangs"
		}
		c.found(Decompressor, Error, f, m.in,
			fmt.Sprintf("chain %q wants bodies of responses, and a compressed response %s: filter %s decompresses it before %s sees it", chain.Name, then, at(f, "name").Text(), m.filter.name),
			fmt.Sprintf("put it in front of %s, where it sees responses last", m.filter.name))
	}
}

// elsewhere reports settings of routes that have the filter ask somebody else.
func (c *checker) elsewhere(s *setup, service *message.Node, u *use) {
	if c.leads(s.service) || target(s.service) == target(u.msg.GetGrpcService()) {
		return
	}
	c.found(RouteElsewhere, Error, service, s.in,
		fmt.Sprintf("requests pass without any chain: here the filter asks %q, and the engine is %q", target(s.service), target(u.msg.GetGrpcService())),
		"take grpc_service out")
}

// heldInFront is the limit in bytes of what filters in front of the engine's hold of a
// request, on a route; 0 where there is none. Such a filter raises or lowers the limit for
// requests with a body and for their responses.
func (m *manager) heldInFront(route *message.Node) (limit int64, holder string) {
	for _, f := range m.holders {
		if as[*hcm.HttpFilter](f).GetDisabled() {
			continue
		}
		name := at(f, "name").Text()
		most := as[*bufferfilter.Buffer](at(f, "typed_config")).GetMaxRequestBytes()
		if block := nearestBlock(route, name); block != nil {
			if as[*routev3.FilterConfig](block).GetDisabled() || as[*bufferfilter.BufferPerRoute](block).GetDisabled() {
				continue
			}
			if own := as[*bufferfilter.BufferPerRoute](block).GetBuffer(); own != nil {
				most = own.GetMaxRequestBytes()
			}
		}
		limit, holder = int64(most.GetValue()), name
	}
	return limit, holder
}

// nearestBlock is the most specific of a filter's settings that are in force for a
// route, or nil.
func nearestBlock(route *message.Node, filter string) *message.Node {
	levels := []string{routeMsg, hostMsg, routesMsg}
	for n := route; n != nil; n = n.Parent() {
		if !slices.Contains(levels, n.Type()) {
			continue
		}
		if block := at(n, "typed_per_filter_config", filter); there(block) {
			return block
		}
	}
	return nil
}
