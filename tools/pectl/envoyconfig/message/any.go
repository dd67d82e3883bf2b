package message

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"policyengine.dev/tools/pectl/envoyconfig/envoyyaml"
)

const (
	anyName = "google.protobuf.Any"
	typeKey = "@type"
)

// typedStructs hold a message as a google.protobuf.Struct, with its type beside it.
var typedStructs = map[string]bool{"xds.type.v3.TypedStruct": true, "udpa.type.v1.TypedStruct": true}

// any reads what an Any holds.
func (d *decoder) any(n *Node) {
	v := n.value
	if v.Kind != envoyyaml.Mapping {
		d.problem(Unreadable, n, "%s where a mapping with %s is expected", v.Kind, typeKey)
		return
	}
	if len(v.Fields) == 0 {
		return
	}
	url := v.Get(typeKey)
	if url == nil || url.Kind != envoyyaml.String {
		d.problem(Unreadable, n, "an extension has no %s", typeKey)
		return
	}
	n.setURL(url.Text)
	n.typeName = TypeName(url.Text)
	content := v
	if typedStructs[n.typeName] {
		inner := v.Get("type_url")
		if inner == nil {
			inner = v.Get("typeUrl")
		}
		n.typeName = ""
		if inner != nil {
			n.typeName = TypeName(inner.Text)
		}
		if content = v.Get("value"); content == nil || content.Kind == envoyyaml.Null {
			content = &envoyyaml.Value{Kind: envoyyaml.Mapping, File: v.File, Line: v.Line, Column: v.Column, Path: v.Path}
		}
	}
	d.inside(n, content)
}

func (n *Node) setURL(url string) {
	n.message.Set(n.message.Descriptor().Fields().ByName("type_url"), protoreflect.ValueOfString(url))
}

// inside reads the content of an Any as the message of its type.
func (d *decoder) inside(n *Node, v *envoyyaml.Value) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(n.typeName))
	if err != nil {
		name := n.typeName
		if name == "" {
			name = "no name"
		}
		d.problem(UnknownType, n, "%s", name)
		n.inner = &Node{value: v, parent: n}
		d.untyped(n.inner)
		return
	}
	m := t.New()
	if special(string(m.Descriptor().FullName())) && v == n.value {
		// A message with a JSON form of its own is under "value".
		if v = v.Get("value"); v == nil {
			v = &envoyyaml.Value{Kind: envoyyaml.Null, File: n.value.File, Line: n.value.Line, Column: n.value.Column, Path: n.value.Path}
		}
		n.inner = d.message(v, n, m)
		return
	}
	n.inner = &Node{value: v, parent: n, message: m}
	if v.Kind != envoyyaml.Mapping {
		d.problem(Unreadable, n.inner, "%s where %s is expected", v.Kind, n.typeName)
		return
	}
	d.fields(n.inner, v)
}

// untyped reads what has no known type, so that known extensions inside of it are
// found nevertheless.
func (d *decoder) untyped(n *Node) {
	v := n.value
	child := func(v *envoyyaml.Value) *Node {
		child := &Node{value: v, parent: n}
		if v.Get(typeKey) != nil {
			child.message = newAny()
			d.any(child)
		} else {
			d.untyped(child)
		}
		return child
	}
	switch v.Kind {
	case envoyyaml.Bool:
		n.scalar = protoreflect.ValueOfBool(v.Bool)
	case envoyyaml.String:
		n.scalar = protoreflect.ValueOfString(v.Text)
	case envoyyaml.List:
		for _, item := range v.Items {
			n.items = append(n.items, child(item))
		}
	case envoyyaml.Mapping:
		for _, f := range v.Fields {
			n.add(f.Key, child(f.Value))
		}
	}
}

// TypeName is the name of a message that a type URL names.
func TypeName(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

// Known reports whether a message is one of Envoy's.
func Known(name string) bool {
	_, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	return err == nil
}
