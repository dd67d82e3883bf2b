package schema

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/strictyaml"
)

// fault is what is wrong with a value, and what would be right.
type fault struct{ problem, remedy string }

var (
	empty     = fault{"is empty", "give it a value"}
	badSize   = fault{"not a size", "write a whole number of bytes of at least 1, or one with a unit, such as 512KiB, 10MiB or 1GiB"}
	badHeader = fault{"not a header name", "write one such as x-tenant; method, path and authority need not be named"}
	badObject = fault{"parameters are a mapping", "write the parameters' names and values, or leave the field out"}
	tooShort  = fault{"a length of time that is too short", "write one above 0, such as 200ms or 30s"}
	tooLong   = fault{"a length of time that is too long", "write one such as 200ms or 30s"}
)

func (f *Field) badWord(words []string) fault {
	last := len(words) - 1
	return fault{"not " + f.Rules.What, "write " + strings.Join(words[:last], ", ") + " or " + words[last]}
}

func validHeader(name string) bool { return policy.ValidHeaderName(name) }

var sizeUnits = []struct {
	suffix string
	bytes  uint64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// ParseSize reads a number of bytes of at least 1, such as 1048576 or "1MiB". The error
// is a strictyaml.Diagnostic.
func ParseSize(n strictyaml.Node) (int64, error) {
	digits, factor := n.Text(), uint64(1)
	if n.Kind() == strictyaml.String {
		for _, unit := range sizeUnits {
			if rest, ok := strings.CutSuffix(digits, unit.suffix); ok {
				digits, factor = strings.TrimRight(rest, " "), unit.bytes
				break
			}
		}
	}
	number, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || number == 0 || number > math.MaxInt64/factor {
		return 0, n.Problem(badSize.problem, badSize.remedy)
	}
	return int64(number * factor), nil
}

// Problem is one thing that is wrong with a message.
type Problem struct {
	// Path leads from the message to the field, such as policies[2].when. Empty for
	// the message itself.
	Path string
	// Message says what is wrong, and Remedy what would be right.
	Message, Remedy string
}

// Error is path, message and remedy in a line.
func (p Problem) Error() string {
	if p.Path == "" {
		return fmt.Sprintf("%s; %s", p.Message, p.Remedy)
	}
	return fmt.Sprintf("%s: %s; %s", p.Path, p.Message, p.Remedy)
}
