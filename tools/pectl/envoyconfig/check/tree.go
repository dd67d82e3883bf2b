package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	_ "google.golang.org/protobuf/types/known/emptypb" // stands for extensions

	"policyengine.dev/sdk/strictyaml"
)

// A configuration is walked as YAML, so that every finding has a place, and decoded
// as Envoy's messages where something is to be understood. What is inside an
// extension is another message, which this program may or may not know: it is left
// out when the message around it is decoded, and decoded by itself where it matters.

// at goes down by Envoy's field names (snake case), as they or protobuf's JSON names
// are written, and by indices.
func at(n strictyaml.Node, steps ...any) strictyaml.Node {
	for _, step := range steps {
		next := n.At(step)
		if name, ok := step.(string); ok && next.Kind() == strictyaml.Missing {
			if other := n.At(camel(name)); other.Kind() != strictyaml.Missing {
				next = other
			}
		}
		n = next
	}
	return n
}

func there(n strictyaml.Node) bool {
	return n.Kind() != strictyaml.Missing && n.Kind() != strictyaml.Null
}

func camel(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words[1:] {
		if w != "" {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}

const (
	anyType         = "@type"
	typedStruct     = "xds.type.v3.TypedStruct"
	udpaTypedStruct = "udpa.type.v1.TypedStruct"
)

// extension returns the message's name and the fields of a typed configuration
// (google.protobuf.Any); "" where there is none.
func extension(n strictyaml.Node) (message string, fields strictyaml.Node) {
	message = messageName(n.At(anyType).Text())
	if message == typedStruct || message == udpaTypedStruct {
		return messageName(at(n, "type_url").Text()), n.At("value")
	}
	return message, n
}

func messageName(typeURL string) string { return typeURL[strings.LastIndexByte(typeURL, '/')+1:] }

// decode decodes n into m. unknown says which field Envoy v1.36 has not, or which
// value; it is empty where there is none.
func decode(n strictyaml.Node, m proto.Message) (unknown string, err error) {
	if n.Kind() != strictyaml.Mapping {
		return "", fmt.Errorf("%s where there should be a mapping", n.Kind())
	}
	var b bytes.Buffer
	appendMessage(&b, n)
	strict := protojson.Unmarshal(b.Bytes(), m)
	if strict == nil {
		return "", nil
	}
	proto.Reset(m)
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b.Bytes(), m); err != nil {
		return "", fmt.Errorf("%s", plain(err))
	}
	return plain(strict), nil
}

var position = regexp.MustCompile(`^proto:\s*(\(line \d+:\d+\):\s*)?`)

// plain is protojson's error without the place, which is one in this program's
// text, and without the white space that changes from one run to the next.
func plain(err error) string {
	s := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return position.ReplaceAllString(s, "")
}

// appendMessage writes n's fields as JSON, an extension in them as an empty one.
func appendMessage(b *bytes.Buffer, n strictyaml.Node) {
	b.WriteByte('{')
	first := true
	for name, value := range n.Fields {
		if name == anyType {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		key, _ := json.Marshal(name) //nolint:errcheck // a string
		b.Write(key)
		b.WriteByte(':')
		appendValue(b, value)
	}
	b.WriteByte('}')
}

func appendValue(b *bytes.Buffer, n strictyaml.Node) {
	switch n.Kind() {
	case strictyaml.Mapping:
		if n.At(anyType).Kind() == strictyaml.String {
			b.WriteString(`{"@type":"type.googleapis.com/google.protobuf.Empty","value":{}}`)
			return
		}
		appendMessage(b, n)
	case strictyaml.List:
		b.WriteByte('[')
		for i, item := range n.Items {
			if i > 0 {
				b.WriteByte(',')
			}
			appendValue(b, item)
		}
		b.WriteByte(']')
	default:
		b.Write(n.JSON())
	}
}
