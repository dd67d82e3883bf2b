// Package ruledoc writes the reference of Starlark macros, aspects and
// providers, from what Bazel's starlark_doc_extract says of them.
package ruledoc

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Render makes a page of Markdown of a ModuleInfo, in the binary form in which
// starlark_doc_extract writes it. The page lists functions, then aspects, then
// providers, each in the order of the module.
func Render(moduleInfo []byte) (string, error) {
	module, err := parse(moduleInfo)
	if err != nil {
		return "", fmt.Errorf("reading what starlark_doc_extract wrote: %w", err)
	}
	var b strings.Builder
	for _, function := range module.messages[moduleFunctions] {
		renderFunction(&b, function)
	}
	for _, aspect := range module.messages[moduleAspects] {
		renderAspect(&b, aspect)
	}
	for _, provider := range module.messages[moduleProviders] {
		renderProvider(&b, provider)
	}
	return b.String(), nil
}

// Field numbers of Bazel's stardoc_output.proto: those that are read here.
const (
	moduleProviders = 2
	moduleFunctions = 3
	moduleAspects   = 4

	nameField      = 1 // of every message
	docField       = 2 // of providers, fields, parameters, aspects and attributes
	functionParams = 2
	functionDoc    = 3

	paramDefault   = 3
	paramMandatory = 4
	paramRole      = 5
	roleVarargs    = 4
	roleKwargs     = 5

	providerFields = 3
)

func renderFunction(b *strings.Builder, function message) {
	fmt.Fprintf(b, "\n## %s\n\n```starlark\n", function.text(nameField))
	fmt.Fprintf(b, "load(\"@policy_engine//tools/bundle:defs.bzl\", \"%s\")\n\n", function.text(nameField))
	var params []string
	for _, param := range function.messages[functionParams] {
		params = append(params, signature(param))
	}
	fmt.Fprintf(b, "%s(%s)\n```\n\n%s\n", function.text(nameField), strings.Join(params, ", "), strings.TrimSpace(function.text(functionDoc)))
	b.WriteString("\n| parameter | | default |\n|---|---|---|\n")
	for _, param := range function.messages[functionParams] {
		value := "`" + param.text(paramDefault) + "`"
		switch {
		case param.number(paramMandatory) != 0:
			value = "required"
		case param.text(paramDefault) == "":
			value = ""
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", stars(param)+param.text(nameField), cell(param.text(docField)), value)
	}
}

func signature(param message) string {
	s := stars(param) + param.text(nameField)
	if value := param.text(paramDefault); value != "" {
		s += " = " + value
	}
	return s
}

// stars marks *args and **kwargs. Bazel 7 does not say the role of a
// parameter; it is the only one that is neither required nor has a default.
func stars(param message) string {
	switch role := param.number(paramRole); {
	case role == roleVarargs:
		return "*"
	case role == roleKwargs, role == 0 && param.number(paramMandatory) == 0 && param.text(paramDefault) == "":
		return "**"
	}
	return ""
}

func renderAspect(b *strings.Builder, aspect message) {
	fmt.Fprintf(b, "\n## %s\n\nAn aspect. %s\n", aspect.text(nameField), strings.TrimSpace(aspect.text(docField)))
}

func renderProvider(b *strings.Builder, provider message) {
	fmt.Fprintf(b, "\n## %s\n\nA provider. %s\n\n| field | |\n|---|---|\n", provider.text(nameField), strings.TrimSpace(provider.text(docField)))
	for _, field := range provider.messages[providerFields] {
		fmt.Fprintf(b, "| `%s` | %s |\n", field.text(nameField), cell(field.text(docField)))
	}
}

// cell fits text into a table's cell.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "\\|")
}

// message is a protobuf message whose shape is not declared: a field with a
// length is text, and a message too where it parses as one.
type message struct {
	texts    map[protowire.Number]string
	numbers  map[protowire.Number]uint64
	messages map[protowire.Number][]message
}

func (m message) text(number protowire.Number) string   { return m.texts[number] }
func (m message) number(number protowire.Number) uint64 { return m.numbers[number] }

// maxDepth is how deep messages stand in one another in a ModuleInfo, and more.
const maxDepth = 8

func parse(data []byte) (message, error) { return parseAt(data, 0) }

func parseAt(data []byte, depth int) (message, error) {
	m := message{map[protowire.Number]string{}, map[protowire.Number]uint64{}, map[protowire.Number][]message{}}
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return m, protowire.ParseError(n)
		}
		data = data[n:]
		switch kind {
		case protowire.BytesType:
			var value []byte
			if value, n = protowire.ConsumeBytes(data); n >= 0 {
				m.texts[number] = string(value)
				if inner, err := parseAt(value, depth+1); err == nil && depth < maxDepth {
					m.messages[number] = append(m.messages[number], inner)
				}
			}
		case protowire.VarintType:
			m.numbers[number], n = protowire.ConsumeVarint(data)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return m, protowire.ParseError(n)
		}
		data = data[n:]
	}
	return m, nil
}
