package edits

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"policyengine.dev/sdk/expr"
	"policyengine.dev/sdk/policy"
)

// maxValue is the longest value that a template may give, in bytes.
const maxValue = 8192

// template is text with expressions in it: "Bearer ${auth.subject}".
type template struct{ pieces []piece }

// piece is a text, or an expression.
type piece struct {
	text    string
	program *expr.ValueProgram
}

// compileTemplate compiles s. "${" begins an expression, which ends at the brace that
// closes it; "$${" stands for the text "${".
func compileTemplate(s string, opts []expr.Option) (*template, error) {
	var t template
	var problems []error
	var text strings.Builder
	for s != "" {
		at := strings.Index(s, "${")
		if at < 0 {
			break
		}
		if at > 0 && s[at-1] == '$' {
			text.WriteString(s[:at-1] + "${")
			s = s[at+len("${"):]
			continue
		}
		text.WriteString(s[:at])
		s = s[at+len("${"):]
		end, err := expressionEnd(s)
		if err != nil {
			return nil, err
		}
		program, err := expr.CompileValue(s[:end], opts...)
		if err != nil {
			problems = append(problems, err)
		}
		t.add(&text)
		t.pieces = append(t.pieces, piece{program: program})
		s = s[end+1:]
	}
	text.WriteString(s)
	if !policy.ValidHeaderValue(text.String()) {
		problems = append(problems, errors.New("has control characters"))
	}
	t.add(&text)
	return &t, errors.Join(problems...)
}

func (t *template) add(text *strings.Builder) {
	if text.Len() > 0 {
		t.pieces = append(t.pieces, piece{text: text.String()})
		text.Reset()
	}
}

// expressionEnd returns the place of the brace that ends the expression at the start of
// s. Braces inside of it, and in its strings, do not count.
func expressionEnd(s string) (int, error) {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{':
			depth++
		case c == '}' && depth == 0:
			return i, nil
		case c == '}':
			depth--
		}
	}
	return 0, fmt.Errorf("the expression that begins with %q has no closing brace", "${"+s[:min(len(s), 20)])
}

// errNoValue has no details: they could hold what a client sent.
var errNoValue = errors.New("the template gives no value that a header can have")

// evaluate gives the value. There is none where an expression has no result, or one
// that is no text, number or bool, or where the value could not be sent.
func (t *template) evaluate(in expr.Input) (string, error) {
	var buffer [256]byte
	value := buffer[:0]
	for _, p := range t.pieces {
		if p.program == nil {
			value = append(value, p.text...)
			continue
		}
		v, err := p.program.Eval(in)
		if err != nil {
			return "", err
		}
		switch v := v.(type) {
		case string:
			value = append(value, v...)
		case int64:
			value = strconv.AppendInt(value, v, 10)
		case uint64:
			value = strconv.AppendUint(value, v, 10)
		case float64:
			value = strconv.AppendFloat(value, v, 'f', -1, 64)
		case bool:
			value = strconv.AppendBool(value, v)
		default:
			return "", errNoValue
		}
		if len(value) > maxValue {
			return "", errNoValue
		}
	}
	if s := string(value); policy.ValidHeaderValue(s) {
		return s, nil
	}
	return "", errNoValue
}
