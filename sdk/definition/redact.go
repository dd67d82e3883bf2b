package definition

import "encoding/json"

// redacted stands where a value must not be shown.
const redacted = "[redacted]"

// Redact returns the parameters with secrets masked: what a schema marks with
// x-secret, in any alternative, and what no schema describes. Parameters that
// are no JSON are masked as a whole. It is for showing, not for use.
func (d *Definition) Redact(params json.RawMessage) json.RawMessage {
	var masked any = redacted
	if value, problems := parseValue(params); len(problems) == 0 {
		masked = redact([]*schema{d.schema.root}, value)
	}
	data, err := json.Marshal(masked)
	if err != nil {
		return json.RawMessage(`"` + redacted + `"`)
	}
	return data
}

// redact masks a value that all of schemas may describe.
func redact(schemas []*schema, value any) any {
	schemas = closure(schemas)
	if len(schemas) == 0 {
		return redacted
	}
	for _, s := range schemas {
		if s.secret {
			return redacted
		}
	}
	switch v := value.(type) {
	case map[string]any:
		shown := make(map[string]any, len(v))
		for name, field := range v {
			var inner []*schema
			for _, s := range schemas {
				inner = append(append(inner, s.fields(name)...), s.looseFields...)
			}
			shown[name] = redact(inner, field)
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
			shown[i] = redact(inner, item)
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
