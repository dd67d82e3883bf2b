package strictyaml

import (
	"bytes"
	"encoding/json"
	"strings"
)

// JSON is the node as JSON, without white space, keys in the file's order and
// numbers as they are written. It is nil for a missing node. It cannot fail:
// [Parse] refuses what JSON cannot say.
func (n Node) JSON() json.RawMessage {
	if n.Kind() == Missing {
		return nil
	}
	var b bytes.Buffer
	n.appendJSON(&b)
	return b.Bytes()
}

func (n Node) appendJSON(b *bytes.Buffer) {
	switch n.Kind() {
	case Null, Missing:
		b.WriteString("null")
	case Bool:
		b.WriteString(strings.ToLower(n.Text()))
	case Number:
		b.WriteString(n.Text())
	case String:
		appendJSONString(b, n.Text())
	case List:
		b.WriteByte('[')
		for i, item := range n.Items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.appendJSON(b)
		}
		b.WriteByte(']')
	case Mapping:
		b.WriteByte('{')
		first := true
		for key, field := range n.Fields {
			if !first {
				b.WriteByte(',')
			}
			first = false
			appendJSONString(b, key)
			b.WriteByte(':')
			field.appendJSON(b)
		}
		b.WriteByte('}')
	}
}

func appendJSONString(b *bytes.Buffer, s string) {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s)   // a string into a buffer: neither can fail
	b.Truncate(b.Len() - 1) // the newline that Encode ends with
}
