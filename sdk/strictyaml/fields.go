package strictyaml

import (
	"fmt"
	"reflect"
	"strings"
)

// structFields are the fields that a struct can be decoded from, by name, and
// the names in the struct's order.
type structFields struct {
	names  []string
	byName map[string]structField
}

type structField struct {
	index    []int
	required bool
}

func fieldsOf(t reflect.Type) structFields {
	fields := structFields{byName: map[string]structField{}}
	fields.collect(t, nil)
	return fields
}

func (fields *structFields) collect(t reflect.Type, outer []int) {
	for i := range t.NumField() {
		field := t.Field(i)
		index := append(outer[:len(outer):len(outer)], i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if name == "" {
			name, _, _ = strings.Cut(field.Tag.Get("json"), ",")
		}
		switch {
		case name == "-" || (!field.IsExported() && !field.Anonymous):
			continue
		case name == "" && field.Anonymous && field.Type.Kind() == reflect.Struct:
			fields.collect(field.Type, index)
			continue
		case name == "":
			panic(fmt.Sprintf("strictyaml: field %s of %s has no yaml or json tag", field.Name, t))
		}
		if _, twice := fields.byName[name]; twice {
			panic(fmt.Sprintf("strictyaml: two fields of %s are named %s", t, name))
		}
		fields.names = append(fields.names, name)
		fields.byName[name] = structField{index, options == "required"}
	}
}
