package check

import (
	"fmt"

	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// fragment is a part of a listener or of routes without the configuration around it.
type fragment struct {
	node *message.Node
	in   scope
	// partial means that its messages are merged into others, so a missing field
	// means nothing.
	partial bool
}

// fragment looks for the engine's filter, and for settings of routes that are meant for
// it, in a fragment.
func (c *checker) fragment(f fragment) {
	c.complete = false
	n := f.node.Inner()
	switch n.Type() {
	case hcmMsg:
		if !f.partial {
			c.looked.ConnectionManagers++
			c.connectionManager(n, f.in, defaultBufferLimit, false)
			return
		}
	case httpFilterMsg, extensionMsg:
		if at(n, "typed_config").Type() == extProcMsg {
			c.lonely(n, f)
			return
		}
	}
	r := &router{checker: c, setups: map[*block]*setup{}}
	p := place{n, f.in}
	if levels := r.level(nil, p); len(levels) > 0 {
		r.runs(levels, p)
	}
	for _, child := range n.Fields {
		c.fragment(fragment{child, f.in, f.partial})
	}
	for _, child := range n.Items {
		c.fragment(fragment{child, f.in, f.partial})
	}
}

// lonely looks at an external processing filter without a connection manager around it.
func (c *checker) lonely(n *message.Node, f fragment) {
	fields := at(n, "typed_config").Inner()
	msg := as[*extproc.ExternalProcessor](fields)
	name := named(n, "name", 0)
	u := &use{node: n, fields: fields, msg: msg, name: name, in: f.in.within("filter", name), fragment: true}
	m := &manager{node: n, in: f.in, msg: &hcm.HttpConnectionManager{}, filter: u, unseen: true, names: map[string]bool{name: true}}
	m.start()
	switch {
	case msg.GetGrpcService() == nil && msg.GetHttpService() == nil:
		// Laid over a filter that may be the engine's.
		c.filterEntry(u, m)
		c.openings(u)
		c.rules(u, m)
		if msg.GetProcessingMode().GetRequestHeaderMode() == extproc.ProcessingMode_SKIP {
			c.found(HeadersSkipped, Error, at(fields, "processing_mode", "request_header_mode"), u.in,
				"requests pass without any request policy: their headers are not sent to the engine", "set request_header_mode to SEND")
		}
	case c.leadsToEngine(msg):
		c.filter(m)
	default:
		c.found(FilterUnseen, Warning, n, u.in,
			fmt.Sprintf("this external processing filter leads to %q, and was not checked", target(msg.GetGrpcService())), "if that is the engine, say so with --cluster")
	}
}
