package expr

import (
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common"
)

// explain is the message of a problem that cel-go found.
func explain(_ *cel.Ast, e *common.Error) string {
	return strings.TrimSuffix(e.Message, " (in container '')")
}
