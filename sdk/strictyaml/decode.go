package strictyaml

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Unmarshaler is implemented, on its pointer, by a type that reads itself:
// one that may be written in two ways, for instance. The error may be a
// [Diagnostics]; any other is reported at the node. It must not keep the
// node's scalars in its error text.
type Unmarshaler interface {
	UnmarshalNode(n Node) error
}

// Decode reads the node into the value that into points to.
//
// A struct's fields are named by their yaml tags (`yaml:"name"`, and
// `yaml:"name,required"` for one that must be given), or else by their json
// tags; "-" leaves a field out, and an embedded struct without a name stands
// for its fields. Other types are read by the first of these that fits: [Node]
// (kept as it is), [Unmarshaler], [json.RawMessage], [encoding.TextUnmarshaler]
// (from a string), [json.Unmarshaler], [time.Duration] (as in 1m30s), and then
// by kind: strings, booleans, numbers, slices, maps with string keys, structs,
// pointers, and any (as encoding/json would, numbers as [json.Number]).
//
// Nothing is converted: a number or boolean is not a string, and an empty value
// (null) is an error but for Node, json.RawMessage, any, and types that read
// themselves. A missing field keeps what it holds, so that defaults may be
// set before.
//
// The error is a [Diagnostics] with every problem. What had none is decoded
// nevertheless, so that a caller may go on and find more. Decode panics where
// into is no pointer or has a type that is not in this list, which is a
// mistake in the program.
func (n Node) Decode(into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic("strictyaml: Decode wants a pointer that is not nil")
	}
	var d decoder
	if n.Kind() == Missing {
		d.found.Add(n.Problem("missing", ""))
	} else {
		d.value(n, v.Elem())
	}
	return d.found.Err()
}

type decoder struct{ found Diagnostics }

var (
	nodeType     = reflect.TypeFor[Node]()
	rawType      = reflect.TypeFor[json.RawMessage]()
	durationType = reflect.TypeFor[time.Duration]()
)

func (d *decoder) value(n Node, v reflect.Value) {
	if d.whatever(n, v) {
		return
	}
	if n.Kind() == Null {
		d.found.Add(n.Problem("has no value", "give it one, or leave the field out"))
		return
	}
	if d.text(n, v) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem())
	case reflect.Struct:
		if d.want(n, Mapping, "") {
			d.structure(n, v)
		}
	case reflect.Map:
		if d.want(n, Mapping, "") {
			d.mapping(n, v)
		}
	case reflect.Slice:
		if d.want(n, List, "") {
			d.list(n, v)
		}
	default:
		d.scalar(n, v)
	}
}

// whatever reads into the types that take any kind of value, null included.
func (d *decoder) whatever(n Node, v reflect.Value) bool {
	switch {
	case v.Type() == nodeType:
		v.Set(reflect.ValueOf(n))
		return true
	case v.Type() == rawType:
		v.SetBytes(n.JSON())
		return true
	case v.Kind() == reflect.Interface:
		if v.NumMethod() != 0 {
			panic("strictyaml: cannot decode into " + v.Type().String())
		}
		v.SetZero()
		if decoded := n.generic(); decoded != nil {
			v.Set(reflect.ValueOf(decoded))
		}
		return true
	case v.Kind() == reflect.Pointer || !v.CanAddr():
		return false
	}
	switch reader := v.Addr().Interface().(type) {
	case Unmarshaler:
		d.found.AddError(n, reader.UnmarshalNode(n))
		return true
	case encoding.TextUnmarshaler:
		return false
	case json.Unmarshaler:
		d.found.AddError(n, reader.UnmarshalJSON(n.JSON()))
		return true
	}
	return false
}

// text reads into the types that are written as strings.
func (d *decoder) text(n Node, v reflect.Value) bool {
	if v.Type() == durationType {
		if d.want(n, String, aDuration) {
			duration, err := time.ParseDuration(n.Text())
			if err != nil {
				d.found.Add(n.Problem("not a duration", aDuration))
			}
			v.SetInt(int64(duration))
		}
		return true
	}
	if v.Kind() == reflect.Pointer || !v.CanAddr() {
		return false
	}
	reader, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	if ok && d.want(n, String, "") {
		d.found.AddError(n, reader.UnmarshalText([]byte(n.Text())))
	}
	return ok
}

const aDuration = "write a number with a unit, such as 200ms or 1m30s"

// want reports whether the node has a kind, and the problem where it has not.
func (d *decoder) want(n Node, kind Kind, remedy string) bool {
	found := n.Kind()
	if found == kind {
		return true
	}
	if kind == String && (found == Number || found == Bool) && remedy == "" {
		remedy = "put it in quotes"
	}
	d.found.Add(n.Problem(fmt.Sprintf("expected %s, found %s", kind, found), remedy))
	return false
}

func (d *decoder) structure(n Node, v reflect.Value) {
	fields := fieldsOf(v.Type())
	given := map[string]bool{}
	for key, child := range n.Fields {
		given[key] = true
		field, known := fields.byName[key]
		if !known {
			d.found.Add(child.KeyProblem("unknown field", Nearest(key, fields.names)))
			continue
		}
		d.value(child, v.FieldByIndex(field.index))
	}
	for _, name := range fields.names {
		if fields.byName[name].required && !given[name] {
			d.found.Add(n.At(name).Problem("missing", "this field is required"))
		}
	}
}

func (d *decoder) mapping(n Node, v reflect.Value) {
	if v.Type().Key().Kind() != reflect.String {
		panic("strictyaml: cannot decode into " + v.Type().String())
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for key, child := range n.Fields {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(child, item)
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), item)
	}
}

func (d *decoder) list(n Node, v reflect.Value) {
	items := n.value().Content
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range n.Items {
		d.value(item, list.Index(i))
	}
	v.Set(list)
}

func (d *decoder) scalar(n Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if d.want(n, String, "") {
			v.SetString(n.Text())
		}
	case reflect.Bool:
		if d.want(n, Bool, "write true or false") {
			v.SetBool(strings.EqualFold(n.Text(), "true"))
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if d.want(n, Number, "") {
			bits := v.Type().Bits()
			number, err := strconv.ParseInt(n.Text(), 10, bits)
			if err != nil {
				least := int64(-1) << (bits - 1)
				d.found.Add(n.Problem("not a whole number in range", fmt.Sprintf("from %d to %d", least, -1-least)))
			}
			v.SetInt(number)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if d.want(n, Number, "") {
			bits := v.Type().Bits()
			number, err := strconv.ParseUint(n.Text(), 10, bits)
			if err != nil {
				d.found.Add(n.Problem("not a whole number in range", fmt.Sprintf("from 0 to %d", ^uint64(0)>>(64-bits))))
			}
			v.SetUint(number)
		}
	case reflect.Float32, reflect.Float64:
		if d.want(n, Number, "") {
			number, err := strconv.ParseFloat(n.Text(), v.Type().Bits())
			if err != nil {
				d.found.Add(n.Problem("a number too large", ""))
			}
			v.SetFloat(number)
		}
	default:
		panic("strictyaml: cannot decode into " + v.Type().String())
	}
}

// generic is the node as encoding/json would decode it into an any with
// UseNumber set.
func (n Node) generic() any {
	switch n.Kind() {
	case Bool:
		return strings.EqualFold(n.Text(), "true")
	case Number:
		return json.Number(n.Text())
	case String:
		return n.Text()
	case List:
		list := make([]any, 0, len(n.value().Content))
		for _, item := range n.Items {
			list = append(list, item.generic())
		}
		return list
	case Mapping:
		mapping := make(map[string]any, len(n.value().Content)/2)
		for key, field := range n.Fields {
			mapping[key] = field.generic()
		}
		return mapping
	}
	return nil
}
