package strictyaml

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNumber is the longest number that is read: enough for any float64, and
// short enough for whoever computes with it exactly.
const maxNumber = 64

func isString(n *yaml.Node) bool { return scalarKind(n) == String }

// scalarKind follows YAML 1.2's core schema, in which a date is a string.
func scalarKind(n *yaml.Node) Kind {
	switch n.ShortTag() {
	case "!!null":
		return Null
	case "!!bool":
		return Bool
	case "!!int", "!!float":
		return Number
	}
	return String
}

// scalarProblem says what is wrong with a scalar wherever it stands.
func scalarProblem(n *yaml.Node) (problem, remedy string) {
	tagged := n.Style&yaml.TaggedStyle != 0
	switch tag := n.ShortTag(); {
	case tag == "!!int" || tag == "!!float":
		if !ValidNumber(n.Value) {
			return "a number that JSON cannot write", "put it in quotes if it is text, such as a hash; otherwise write it in decimal, such as 10 or 0.5"
		}
	case tag == "!!bool":
		if !isBool(n.Value) {
			return "not a boolean", "write true or false"
		}
	case tag == "!!null" || tag == "!!str" || tag == "!!merge":
	case tag == "!!timestamp" && !tagged:
	default:
		return "the tag " + tag + " is not known here", "leave it out"
	}
	return "", ""
}

func isBool(s string) bool {
	lower := strings.ToLower(s)
	return lower == "true" || lower == "false"
}

// ValidNumber follows JSON's grammar (RFC 8259, section 6), and refuses what
// is no finite float64, or has an exponent that would make exact arithmetic
// expensive.
func ValidNumber(s string) bool {
	if len(s) > maxNumber {
		return false
	}
	rest := strings.TrimPrefix(s, "-")
	whole := digits(rest)
	if whole == 0 || (whole > 1 && rest[0] == '0') {
		return false
	}
	rest = rest[whole:]
	if fraction, ok := strings.CutPrefix(rest, "."); ok {
		count := digits(fraction)
		if count == 0 {
			return false
		}
		rest = fraction[count:]
	}
	if rest != "" && (rest[0] == 'e' || rest[0] == 'E') {
		exponent := strings.TrimLeft(rest[1:], "+-")
		power, err := strconv.Atoi(exponent)
		if len(rest)-1-len(exponent) > 1 || digits(exponent) != len(exponent) || err != nil || power > 308 {
			return false
		}
		rest = ""
	}
	if rest != "" {
		return false
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

func digits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}
