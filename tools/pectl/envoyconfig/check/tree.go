package check

import (
	"google.golang.org/protobuf/proto"

	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// at goes down by Envoy's field names (snake case), keys and indices.
func at(n *message.Node, steps ...any) *message.Node { return n.At(steps...) }

func there(n *message.Node) bool { return n.Is() }

// as is the message that a place holds; nil where it holds no such message.
func as[M proto.Message](n *message.Node) M { return message.As[M](n) }

// extension returns the name of the message in a typed configuration
// (google.protobuf.Any), and that message; "" where there is none.
func extension(n *message.Node) (name string, fields *message.Node) { return n.Type(), n.Inner() }
