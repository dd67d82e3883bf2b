package definition

// fillIn adds the defaults of missing properties to a value, in place, and
// returns it. A subschema's own properties come before those of its $ref,
// those before its allOf's.
func (s *schema) fillIn(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range s.names {
			if _, given := v[name]; !given {
				if filler, ok := s.properties[name].filler(); ok {
					v[name] = clone(filler)
				}
			}
		}
		for name, field := range v {
			for _, inner := range s.fields(name) {
				field = inner.fillIn(field)
			}
			v[name] = field
		}
	case []any:
		for i, item := range v {
			if inner := s.item(i); inner != nil {
				v[i] = inner.fillIn(item)
			}
		}
	}
	for _, also := range s.always {
		value = also.fillIn(value)
	}
	return value
}

// filler is the default of a schema, or else the first of those that always
// apply with it.
func (s *schema) filler() (any, bool) {
	if s.hasDefault {
		return s.defaultValue, true
	}
	for _, also := range s.always {
		if value, ok := also.filler(); ok {
			return value, true
		}
	}
	return nil, false
}

// fields are the subschemas of a field.
func (s *schema) fields(name string) []*schema {
	var fields []*schema
	if property := s.properties[name]; property != nil {
		fields = append(fields, property)
	}
	for _, p := range s.patterns {
		if p.name.MatchString(name) {
			fields = append(fields, p.schema)
		}
	}
	if len(fields) == 0 && s.additional != nil {
		fields = append(fields, s.additional)
	}
	return fields
}

// item is the subschema of a list's item, or nil.
func (s *schema) item(i int) *schema {
	if i < len(s.prefix) {
		return s.prefix[i]
	}
	return s.items
}
