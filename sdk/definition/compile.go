package definition

import (
	"errors"
	"net/url"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaURL stands for the one schema that is being compiled. No loader
// resolves it, or any other address.
const schemaURL = "policyengine:parameters"

// compiled is a schema ready for use. It is immutable, and safe for
// concurrent use.
type compiled struct {
	root      *schema
	places    map[string]*schema // by JSON pointer
	validator *jsonschema.Schema
	compiler  *jsonschema.Compiler
	// secret says that any part of the parameters may be marked as a secret.
	secret bool
}

// metaschema is JSON Schema 2020-12's own schema, which the library embeds.
var metaschema = sync.OnceValue(func() *jsonschema.Schema {
	return jsonschema.NewCompiler().MustCompile(draft2020)
})

// compileSchema checks and compiles a schema, given as a JSON value.
func compileSchema(value any) (*compiled, Problems) {
	places, problems := buildSchema(value)
	c := &compiled{root: places[""], places: places}
	for _, s := range places {
		c.secret = c.secret || s.secret
	}
	if err := metaschema().Validate(value); err != nil {
		problems = append(problems, c.explain(value, err)...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	c.compiler = jsonschema.NewCompiler()
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.UseLoader(noLoader{})
	c.compiler.AssertFormat()
	c.compiler.AssertContent()
	for _, format := range ownFormats() {
		c.compiler.RegisterFormat(format)
	}
	c.compiler.RegisterContentEncoding(strictBase64)
	if err := c.compiler.AddResource(schemaURL, value); err != nil {
		return nil, Problems{place{}.problem("not a schema", err.Error())}
	}
	var err error
	if c.validator, err = c.compiler.Compile(schemaURL); err != nil {
		return nil, Problems{place{}.problem("not a schema", err.Error())}
	}
	return c, c.badDefaults()
}

// badDefaults finds defaults that their own schemas refuse.
func (c *compiled) badDefaults() Problems {
	var problems Problems
	for pointer, s := range c.places {
		if !s.hasDefault {
			continue
		}
		own, err := c.compiler.Compile(schemaURL + "#" + (&url.URL{Fragment: pointer}).EscapedFragment())
		if err != nil {
			problems = append(problems, s.at.problem("not a schema", err.Error()))
			continue
		}
		filled, ok := s.fillIn(clone(s.defaultValue))
		if !ok {
			problems = append(problems, s.at.key("default").problem("too large with the defaults inside it filled in", "give fewer"))
			continue
		}
		if err := own.Validate(filled); err != nil {
			for _, p := range c.explain(filled, err) {
				p.Message = "the default is not valid: " + p.Message
				problems = append(problems, p.within(s.at.key("default")))
			}
		}
	}
	return problems
}

func (c *compiled) explain(value any, err error) Problems {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return Problems{place{}.problem(err.Error(), "")}
	}
	x := explainer{value: value, schemaAt: c.schemaAt}
	x.explain(invalid)
	return x.done()
}

// schemaAt is the subschema that a validation error names, or nil: the
// metaschema's are not known here.
func (c *compiled) schemaAt(location string) *schema {
	fragment, ok := strings.CutPrefix(location, schemaURL+"#")
	if !ok {
		return nil
	}
	pointer, err := url.PathUnescape(fragment)
	if err != nil {
		return nil
	}
	return c.places[pointer]
}

// noLoader keeps the compiler from any file or network: a schema stands for
// itself.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema refers to nothing outside itself")
}
