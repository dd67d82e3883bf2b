package message

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Pack puts what Any messages hold into them, for a comparison with what Envoy tells.
func Pack(n *Node) error {
	for _, f := range n.fields {
		if err := Pack(f.node); err != nil {
			return err
		}
	}
	for _, item := range n.items {
		if err := Pack(item); err != nil {
			return err
		}
	}
	if n.inner == nil || n.inner.message == nil {
		return nil
	}
	if err := Pack(n.inner); err != nil {
		return err
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(n.inner.message.Interface())
	if err != nil {
		return err
	}
	n.message.Set(n.message.Descriptor().Fields().ByName("value"), protoreflect.ValueOfBytes(b))
	return nil
}
