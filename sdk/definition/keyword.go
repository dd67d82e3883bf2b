package definition

// shape says how a schema keyword holds subschemas, and what they apply to.
type shape uint8

const (
	// plain keywords hold no subschema; the metaschema checks their values.
	plain shape = iota + 1
	// refused keywords would make a schema depend on something else, or mean
	// something that this package does not check.
	refused

	// One subschema, a list of them, or one for each key, that apply to the
	// value itself: always, or depending on what it is.
	alwaysList
	maybeOne
	maybeList
	maybeMap
	// Subschemas that apply to what is inside the value, each its own way.
	inner
	// unusedMap subschemas apply only where a $ref leads to them.
	unusedMap
	reference
	secretMark
	openMark
)

// keywords are those of JSON Schema 2020-12, sections 8 to 10 of its core and
// all of its validation vocabulary, and this project's own.
var keywords = map[string]shape{
	"$schema": plain, "$comment": plain, "$ref": reference, "$defs": unusedMap,
	"$id": refused, "$anchor": refused, "$dynamicRef": refused, "$dynamicAnchor": refused, "$vocabulary": refused,
	"$recursiveRef": refused, "$recursiveAnchor": refused, "definitions": refused, "dependencies": refused,
	"additionalItems": refused, "contentSchema": refused,

	"allOf": alwaysList, "anyOf": maybeList, "oneOf": maybeList, "not": maybeOne,
	"if": maybeOne, "then": maybeOne, "else": maybeOne, "dependentSchemas": maybeMap,
	"properties": inner, "patternProperties": inner, "additionalProperties": inner, "unevaluatedProperties": inner,
	"prefixItems": inner, "items": inner, "contains": inner, "unevaluatedItems": inner, "propertyNames": maybeOne,

	"type": plain, "enum": plain, "const": plain,
	"multipleOf": plain, "maximum": plain, "exclusiveMaximum": plain, "minimum": plain, "exclusiveMinimum": plain,
	"maxLength": plain, "minLength": plain, "pattern": plain, "format": plain,
	"maxItems": plain, "minItems": plain, "uniqueItems": plain, "maxContains": plain, "minContains": plain,
	"maxProperties": plain, "minProperties": plain, "required": plain, "dependentRequired": plain,
	"contentEncoding": plain, "contentMediaType": plain,
	"title": plain, "description": plain, "default": plain, "deprecated": plain, "readOnly": plain, "examples": plain,

	"x-secret": secretMark, "writeOnly": secretMark, "x-open": openMark,
}

// refusals say what to do instead of a refused keyword.
var refusals = map[string]string{
	"$id":              "a schema stands for itself; leave it out",
	"$vocabulary":      "leave it out",
	"definitions":      "write $defs",
	"dependencies":     "write dependentRequired or dependentSchemas",
	"additionalItems":  "write items, beside prefixItems",
	"contentSchema":    "a schema describes parameters and not what is written inside a string; make the content fields of their own",
	"$anchor":          anchorRemedy,
	"$dynamicAnchor":   anchorRemedy,
	"$dynamicRef":      anchorRemedy,
	"$recursiveRef":    anchorRemedy,
	"$recursiveAnchor": anchorRemedy,
}

const anchorRemedy = "refer to #/$defs/NAME with $ref"
