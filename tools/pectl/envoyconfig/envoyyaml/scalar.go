package envoyyaml

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalar reads a scalar as Envoy's loader does with yaml-cpp: what is quoted is a
// string; null, booleans and whole numbers are what they look like, whatever their
// tag; anything else, fractions included, is a string, which becomes what the field
// needs.
func (r *document) scalar(v *Value, n *yaml.Node) {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	v.Kind, v.Text = String, n.Value
	if n.Style&quoted != 0 {
		if n.Style&yaml.LiteralStyle != 0 && r.around == nil {
			v.Indent = r.indentOf(n.Line)
		}
		return
	}
	tagged := n.Style&yaml.TaggedStyle != 0
	if r.json {
		jsonScalar(v)
		return
	}
	if isNull(n.Value) && !(tagged && n.ShortTag() == "!!str") {
		v.Kind, v.Text = Null, ""
		return
	}
	if b, ok := boolean(n.Value); ok {
		v.Kind, v.Bool = Bool, b
		return
	}
	if i, ok := integer(n.Value); ok {
		v.Text = strconv.FormatInt(i, 10)
		if i >= math.MinInt32 && i <= math.MaxInt32 {
			v.Kind = Number // larger ones stay strings, in which no digit is lost
		}
	}
}

func jsonScalar(v *Value) {
	switch {
	case v.Text == "null":
		v.Kind, v.Text = Null, ""
	case v.Text == "true", v.Text == "false":
		v.Kind, v.Bool = Bool, v.Text == "true"
	case json.Valid([]byte(v.Text)):
		v.Kind = Number
	default:
		v.Kind = Invalid
	}
}

func isNull(s string) bool {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return true
	}
	return false
}

// boolean knows the words of YAML 1.1, in lower case, in upper case, or with a
// capital letter first.
func boolean(s string) (value, ok bool) {
	lower := strings.ToLower(s)
	if s != lower && s != strings.ToUpper(s) && s != strings.ToUpper(s[:1])+lower[1:] {
		return false, false
	}
	switch lower {
	case "true", "yes", "on", "y":
		return true, true
	case "false", "no", "off", "n":
		return false, true
	}
	return false, false
}

// integer reads decimal, hexadecimal (0x) and octal (0) numbers of 64 bits.
func integer(s string) (int64, bool) {
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" || digits[0] < '0' || digits[0] > '9' {
		return 0, false
	}
	sign, base := s[:len(s)-len(digits)], 10
	switch {
	case strings.HasPrefix(digits, "0x"), strings.HasPrefix(digits, "0X"):
		digits, base = digits[2:], 16
	case len(digits) > 1 && digits[0] == '0':
		digits, base = digits[1:], 8
	}
	if strings.ContainsAny(digits, "+-") {
		return 0, false
	}
	i, err := strconv.ParseInt(sign+digits, base, 64)
	return i, err == nil
}
