package generate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// object is a mapping whose members keep their order, so that the same input always
// gives the same text.
type object []member

// member is one field. Its comment, where there is one, stands above it in YAML.
type member struct {
	key     string
	value   any // object, list, string, bool, or an integer
	comment string
}

type list []any

// with adds a field.
func (o object) with(key string, value any, comment ...string) object {
	m := member{key: key, value: value}
	for _, c := range comment {
		m.comment += c
	}
	return append(o, m)
}

// WriteYAML writes the document as YAML, with comments.
func (d *Document) WriteYAML(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{node(d.root)}}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return fmt.Errorf("writing YAML: %w", err)
	}
	return e.Close()
}

func node(v any) *yaml.Node {
	n := &yaml.Node{}
	switch v := v.(type) {
	case object:
		n.Kind = yaml.MappingNode
		if len(v) == 0 {
			n.Style = yaml.FlowStyle
		}
		for _, m := range v {
			key := node(m.key)
			key.HeadComment = m.comment
			n.Content = append(n.Content, key, node(m.value))
		}
	case list:
		n.Kind = yaml.SequenceNode
		for _, item := range v {
			n.Content = append(n.Content, node(item))
		}
	case string:
		n.SetString(v)
		// Envoy's own parser reads more words as booleans than this one.
		if yaml11[v] {
			n.Style = yaml.DoubleQuotedStyle
		}
	default:
		n.Kind, n.Value = yaml.ScalarNode, fmt.Sprint(v)
	}
	return n
}

// yaml11 are strings that YAML 1.1 takes for booleans or null.
var yaml11 = map[string]bool{
	"y": true, "Y": true, "yes": true, "Yes": true, "YES": true, "n": true, "N": true, "no": true, "No": true, "NO": true,
	"on": true, "On": true, "ON": true, "off": true, "Off": true, "OFF": true, "~": true,
}

// WriteJSON writes the document as JSON.
func (d *Document) WriteJSON(w io.Writer) error {
	b, err := json.Marshal(d.root)
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, b, "", "  "); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	indented.WriteByte('\n')
	_, err = w.Write(indented.Bytes())
	return err
}

// MarshalJSON implements json.Marshaler: members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, key...), ':'), value...)
	}
	return append(b, '}'), nil
}
