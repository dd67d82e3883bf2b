package definition

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"policyengine.dev/sdk/strictyaml"
)

const (
	// maxSubschemas bounds a schema: compiling takes the square of it.
	maxSubschemas = 2000
	// maxExpanded bounds what a schema comes to with every $ref written out,
	// and with it the work of one validation per value.
	maxExpanded = 20_000

	draft2020 = "https://json-schema.org/draft/2020-12/schema"
)

// schema is what this package has to know of a JSON Schema beyond what
// validates with it: which defaults to fill in, and what to mask. It is a
// graph without cycles, immutable once built.
type schema struct {
	at place

	// Those that apply to the same value: wherever this one does ($ref, allOf),
	// or depending on the value (anyOf, if, ...).
	always, maybe []*schema

	names       []string // of properties, sorted
	properties  map[string]*schema
	patterns    []pattern
	additional  *schema // may be nil, as items
	prefix      []*schema
	items       *schema
	looseFields []*schema // unevaluatedProperties
	looseItems  []*schema // contains, unevaluatedItems

	never        bool // the schema `false`
	secret       bool
	open         bool
	defaultValue any
	hasDefault   bool
}

type pattern struct {
	name   *regexp.Regexp
	schema *schema
}

// schemaBuilder makes the graph and finds what no metaschema would.
type schemaBuilder struct {
	found Problems
	known map[string]*schema // by pointer
	refs  []pendingRef
	full  bool
}

type pendingRef struct {
	from   *schema
	at     place
	target string
}

// buildSchema makes the graph of a schema. The graph is usable only where no
// problem was found.
func buildSchema(value any) (map[string]*schema, Problems) {
	b := &schemaBuilder{known: map[string]*schema{}}
	root := b.schema(value, place{})
	object, _ := value.(map[string]any)
	if object["type"] != "object" {
		b.add(place{}, "parameters are an object", "write type: object")
	}
	if root.hasDefault {
		b.add(root.at.key("default"), "the parameters as a whole have no default", "give the properties theirs")
	}
	if dialect, given := object["$schema"]; given && dialect != draft2020 {
		b.add(root.at.key("$schema"), "not the supported version of JSON Schema", "leave it out, or write "+draft2020)
	}
	b.resolve()
	if len(b.found) == 0 {
		b.bound()
	}
	if len(b.found) == 0 {
		b.conditionalDefaults(root, false, map[*schema]bool{})
	}
	return b.known, b.found
}

func (b *schemaBuilder) add(at place, message, remedy string) {
	b.found = append(b.found, at.problem(message, remedy))
}

func (b *schemaBuilder) schema(value any, at place) *schema {
	s := &schema{at: at, properties: map[string]*schema{}}
	if len(b.known) >= maxSubschemas {
		if !b.full {
			b.full = true
			b.add(at, "the schema has too many subschemas", fmt.Sprintf("at most %d are read", maxSubschemas))
		}
		return s
	}
	b.known[at.pointer] = s
	object, ok := value.(map[string]any)
	if !ok {
		s.never = value == false // else true, or what the metaschema refuses
		return s
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if at.pointer != "" && name == "$schema" {
			b.add(at.key(name), "only the whole schema names its version", "leave it out")
		}
		b.keyword(s, name, object[name])
	}
	if s.secret {
		for _, name := range []string{"default", "const", "enum", "examples"} {
			if _, given := object[name]; given {
				b.add(at.key(name), "a secret is never part of a definition", "leave "+name+" out, or x-secret")
			}
		}
	}
	return s
}

func (b *schemaBuilder) keyword(s *schema, name string, value any) {
	at := s.at.key(name)
	switch keywords[name] {
	case plain:
		b.plain(s, name, value, at)
	case refused:
		b.found = append(b.found, at.keyProblem("this keyword is not supported here", refusals[name]))
	case reference:
		if target, ok := value.(string); ok {
			b.refs = append(b.refs, pendingRef{s, at, target})
		}
	case secretMark:
		mark, ok := value.(bool)
		if !ok {
			b.add(at, "expected a boolean", "write true or false")
		}
		s.secret = s.secret || mark
	case openMark:
		var ok bool
		if s.open, ok = value.(bool); !ok {
			b.add(at, "expected a boolean", "write true or false")
		}
	case alwaysList:
		s.always = append(s.always, b.list(value, at)...)
	case maybeOne:
		s.maybe = append(s.maybe, b.schema(value, at))
	case maybeList:
		s.maybe = append(s.maybe, b.list(value, at)...)
	case maybeMap:
		s.maybe = append(s.maybe, slices.Collect(maps.Values(b.mapping(value, at)))...)
	case inner:
		b.inner(s, name, value, at)
	case unusedMap:
		b.mapping(value, at)
	default:
		b.found = append(b.found, at.keyProblem("unknown keyword of JSON Schema 2020-12", strictyaml.Nearest(name, slices.Collect(maps.Keys(keywords)))))
	}
}

func (b *schemaBuilder) plain(s *schema, name string, value any, at place) {
	text, isText := value.(string)
	switch {
	case name == "default":
		s.defaultValue, s.hasDefault = value, true
	case name == "pattern" && isText:
		if _, err := regexp.Compile(text); err != nil {
			b.add(at, "not a regular expression", formats["regex"])
		}
	case name == "format" && isText:
		if formats[text] == "" {
			b.add(at, "unknown format", formatRemedy(text))
		}
	case contents[name] != nil && isText:
		if !slices.Contains(contents[name], text) {
			b.add(at, "this value of "+name+" is not checked here", "write "+strings.Join(contents[name], " or ")+", or leave it out")
		}
	}
}

func (b *schemaBuilder) list(value any, at place) []*schema {
	array, _ := value.([]any)
	list := make([]*schema, 0, len(array))
	for i, item := range array {
		list = append(list, b.schema(item, at.index(i)))
	}
	return list
}

func (b *schemaBuilder) mapping(value any, at place) map[string]*schema {
	object, _ := value.(map[string]any)
	mapping := make(map[string]*schema, len(object))
	for _, name := range slices.Sorted(maps.Keys(object)) {
		mapping[name] = b.schema(object[name], at.key(name))
	}
	return mapping
}

func (b *schemaBuilder) inner(s *schema, name string, value any, at place) {
	switch name {
	case "properties":
		s.properties = b.mapping(value, at)
		s.names = slices.Sorted(maps.Keys(s.properties))
	case "patternProperties":
		mapping := b.mapping(value, at)
		for _, name := range slices.Sorted(maps.Keys(mapping)) {
			if expression, err := regexp.Compile(name); err == nil {
				s.patterns = append(s.patterns, pattern{expression, mapping[name]})
			} else {
				b.add(at.key(name), "not a regular expression", formats["regex"])
			}
		}
	case "additionalProperties":
		s.additional = b.schema(value, at)
	case "unevaluatedProperties":
		s.looseFields = append(s.looseFields, b.schema(value, at))
	case "prefixItems":
		s.prefix = b.list(value, at)
	case "items":
		s.items = b.schema(value, at)
	default: // contains, unevaluatedItems
		s.looseItems = append(s.looseItems, b.schema(value, at))
	}
}

func (b *schemaBuilder) resolve() {
	var defs []string
	for pointer := range b.known {
		if strings.HasPrefix(pointer, "/$defs/") && strings.Count(pointer, "/") == 2 {
			defs = append(defs, "#"+pointer)
		}
	}
	for _, ref := range b.refs {
		pointer, local := strings.CutPrefix(ref.target, "#")
		if !local {
			b.add(ref.at, "leads out of the schema", "refer to #/$defs/NAME: nothing is ever fetched")
			continue
		}
		pointer, err := url.PathUnescape(pointer)
		target := b.known[pointer]
		if err != nil || target == nil {
			b.add(ref.at, "leads to no schema in this file", strictyaml.Nearest(ref.target, defs))
			continue
		}
		// In front of allOf: what stands beside a $ref is usually the exception.
		ref.from.always = slices.Insert(ref.from.always, 0, target)
	}
}

// children calls yield for each subschema of this one, and tells whether its
// defaults are filled in wherever this one's are.
func (s *schema) children(yield func(child *schema, certain bool) bool) {
	certain := slices.Concat(s.always, s.prefix)
	for _, name := range s.names {
		certain = append(certain, s.properties[name])
	}
	for _, p := range s.patterns {
		certain = append(certain, p.schema)
	}
	for _, child := range []*schema{s.additional, s.items} {
		if child != nil {
			certain = append(certain, child)
		}
	}
	for _, child := range certain {
		if !yield(child, true) {
			return
		}
	}
	for _, child := range slices.Concat(s.maybe, s.looseFields, s.looseItems) {
		if !yield(child, false) {
			return
		}
	}
}

// bound refuses a schema that leads back to itself, or that comes to too much
// when all its references are written out.
func (b *schemaBuilder) bound() {
	const measuring = -1
	size := map[*schema]int{}
	tooLarge := false
	var measure func(*schema) int
	measure = func(s *schema) int {
		n, seen := size[s]
		if n == measuring {
			b.add(s.at, "the schema refers back to itself here", "describe a fixed number of levels")
			size[s] = 1
		}
		if seen {
			return max(n, 1)
		}
		size[s], n = measuring, 1
		for child := range s.children {
			n += measure(child)
		}
		if n > maxExpanded {
			n = 1
			if !tooLarge {
				tooLarge = true
				b.add(s.at, "with every $ref written out the schema is too large", "use fewer alternatives of alternatives")
			}
		}
		size[s] = n
		return n
	}
	for _, pointer := range slices.Sorted(maps.Keys(b.known)) {
		measure(b.known[pointer])
	}
}

// conditionalDefaults refuses defaults that would not be filled in, though a
// reader would think so. seen holds the schemas visited, and how.
func (b *schemaBuilder) conditionalDefaults(s *schema, conditional bool, seen map[*schema]bool) {
	if before, visited := seen[s]; visited && (before || !conditional) {
		return
	}
	seen[s] = conditional
	if conditional && s.hasDefault {
		b.add(s.at.key("default"), "this default would not be filled in",
			"move it out of anyOf, oneOf, not, if, then, else, dependentSchemas, contains and unevaluated...")
	}
	for child, certain := range s.children {
		b.conditionalDefaults(child, conditional || !certain, seen)
	}
}
