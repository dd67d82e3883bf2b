package definition

// maxFilled bounds the defaults that are filled into one value, in keys, values
// and list items: a long list multiplies what its items' schema adds to each.
const maxFilled = 200_000

// filler adds defaults to a value.
type filler struct {
	left int // how much may still be added
	over bool
}

// fillIn adds the defaults of missing properties to a value, in place, and
// returns it. It reports false where they would come to too much.
func (s *schema) fillIn(value any) (any, bool) {
	f := filler{left: maxFilled}
	value = f.fill(s, value)
	return value, !f.over
}

// add gives a default, unless that is too much.
func (f *filler) add(value any) (any, bool) {
	if f.left -= weigh(value); f.left < 0 {
		f.over = true
		return nil, false
	}
	return clone(value), true
}

// fill lets a subschema's own properties come before those of its $ref, and
// those before its allOf's.
func (f *filler) fill(s *schema, value any) any {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range s.names {
			if _, given := v[name]; !given {
				if filling, ok := s.properties[name].filling(); ok {
					if filling, ok = f.add(filling); ok {
						v[name] = filling
					}
				}
			}
		}
		for name, field := range v {
			for _, inner := range s.fields(name) {
				field = f.fill(inner, field)
			}
			v[name] = field
		}
	case []any:
		for i, item := range v {
			if inner := s.item(i); inner != nil {
				v[i] = f.fill(inner, item)
			}
		}
	}
	for _, also := range s.always {
		value = f.fill(also, value)
	}
	return value
}

// filling is the default of a schema, or else the first of those that always
// apply with it.
func (s *schema) filling() (any, bool) {
	if s.hasDefault {
		return s.defaultValue, true
	}
	for _, also := range s.always {
		if value, ok := also.filling(); ok {
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
