package definition

import (
	"bytes"
	"encoding/json"
)

// redacted stands where a value must not be shown.
const redacted = "[redacted]"

// Redact returns the parameters with secrets masked: what a schema marks with
// x-secret or writeOnly, in any alternative, what no schema describes unless one marks it with
// x-open, and in
// all other texts the user information and the query of URLs. Parameters that
// are no JSON are masked as a whole. It is for showing, not for use.
func (d *Definition) Redact(params json.RawMessage) json.RawMessage {
	var masked any = redacted
	if value, problems := parseValue(params); len(problems) == 0 {
		masked = new(redactor).redact([]*schema{d.schema.root}, value, false)
	}
	data, err := json.Marshal(masked)
	if err != nil {
		return json.RawMessage(`"` + redacted + `"`)
	}
	return data
}

// Secrets returns the texts in the parameters that are secret, so that they can
// be kept out of other texts, such as errors: those that a schema marks, and the
// user information and the query of URLs. What says where a secret is ({file:
// PATH} or {env: NAME}) is none. Texts of less than six bytes are left out, since
// they may be found anywhere.
func (d *Definition) Secrets(params json.RawMessage) (marked, inURLs []string) {
	if !d.schema.secret && !bytes.Contains(params, []byte("://")) && bytes.IndexByte(params, '\\') < 0 {
		return nil, nil // no text is marked, and none has a URL
	}
	value, problems := parseValue(params)
	if len(problems) > 0 {
		return nil, nil
	}
	var r redactor
	r.redact([]*schema{d.schema.root}, value, false)
	return r.marked, r.inURLs
}

// redactor masks values, and notes the texts that it has masked.
type redactor struct{ marked, inURLs []string }

// shortestSecret is the length in bytes from which on a text is kept out of others.
const shortestSecret = 6

// hide notes the texts in a value that is masked as a whole.
func (r *redactor) hide(value any) {
	switch v := value.(type) {
	case string:
		if len(v) >= shortestSecret {
			r.marked = append(r.marked, v)
		}
	case map[string]any:
		for name, field := range v {
			if len(v) > 1 || name != "file" && name != "env" {
				r.hide(field)
			}
		}
	case []any:
		for _, item := range v {
			r.hide(item)
		}
	}
}

// redact masks a value that all of schemas may describe. open says that what no schema
// describes is shown.
func (r *redactor) redact(schemas []*schema, value any, open bool) any {
	schemas = closure(schemas)
	if len(schemas) == 0 && !open {
		return redacted
	}
	for _, s := range schemas {
		if s.secret {
			r.hide(value)
			return redacted
		}
		open = open || s.open
	}
	switch v := value.(type) {
	case string:
		return r.redactURLs(v)
	case map[string]any:
		shown := make(map[string]any, len(v))
		for name, field := range v {
			var inner []*schema
			for _, s := range schemas {
				inner = append(append(inner, s.fields(name)...), s.looseFields...)
			}
			shown[name] = r.redact(inner, field, open)
		}
		return shown
	case []any:
		shown := make([]any, len(v))
		for i, item := range v {
			var inner []*schema
			for _, s := range schemas {
				if one := s.item(i); one != nil {
					inner = append(inner, one)
				}
				inner = append(inner, s.looseItems...)
			}
			shown[i] = r.redact(inner, item, open)
		}
		return shown
	}
	return value
}

// closure adds all subschemas that may describe the same value, each once, less
// those that describe nothing.
func closure(schemas []*schema) []*schema {
	seen := map[*schema]bool{}
	var all []*schema
	var add func([]*schema)
	add = func(list []*schema) {
		for _, s := range list {
			if !seen[s] && !s.never {
				seen[s] = true
				all = append(all, s)
				add(s.always)
				add(s.maybe)
			}
		}
	}
	add(schemas)
	return all
}
