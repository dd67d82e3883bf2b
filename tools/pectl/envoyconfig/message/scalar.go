package message

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"policyengine.dev/tools/pectl/envoyconfig/envoyyaml"
)

// scalar reads a scalar as protobuf's C++ reader of JSON does.
func scalar(fd protoreflect.FieldDescriptor, v *envoyyaml.Value) (protoreflect.Value, error) {
	wrong := func(want string) (protoreflect.Value, error) {
		return protoreflect.Value{}, fmt.Errorf("%s where %s is expected", v.Kind, want)
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if v.Kind == envoyyaml.Bool {
			return protoreflect.ValueOfBool(v.Bool), nil
		}
		b, ok := atob(v.Text)
		if v.Kind != envoyyaml.String || !ok {
			return wrong("a boolean")
		}
		return protoreflect.ValueOfBool(b), nil
	case protoreflect.StringKind:
		if v.Kind != envoyyaml.String {
			return wrong("a string (put it in quotes)")
		}
		return protoreflect.ValueOfString(v.Text), nil
	case protoreflect.BytesKind:
		b, err := decodeBase64(v.Text)
		if v.Kind != envoyyaml.String || err != nil {
			return wrong("text in base64")
		}
		return protoreflect.ValueOfBytes(b), nil
	case protoreflect.EnumKind:
		return enum(fd.Enum(), v)
	}
	if v.Kind != envoyyaml.Number && v.Kind != envoyyaml.String {
		return wrong("a number")
	}
	return number(fd, v)
}

// atob knows what absl::SimpleAtob does.
func atob(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true", "t", "yes", "y", "1":
		return true, true
	case "false", "f", "no", "n", "0":
		return false, true
	}
	return false, false
}

func decodeBase64(s string) ([]byte, error) {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	return base64.RawStdEncoding.DecodeString(s)
}

// enum takes a value's name in any case, or its number.
func enum(ed protoreflect.EnumDescriptor, v *envoyyaml.Value) (protoreflect.Value, error) {
	if ed.FullName() == "google.protobuf.NullValue" {
		return protoreflect.ValueOfEnum(0), nil
	}
	if v.Kind != envoyyaml.String && v.Kind != envoyyaml.Number {
		return protoreflect.Value{}, fmt.Errorf("%s where the name of a value is expected", v.Kind)
	}
	values := ed.Values()
	if v.Kind == envoyyaml.String {
		if value := values.ByName(protoreflect.Name(v.Text)); value != nil {
			return protoreflect.ValueOfEnum(value.Number()), nil
		}
		for i := range values.Len() {
			if strings.EqualFold(string(values.Get(i).Name()), v.Text) {
				return protoreflect.ValueOfEnum(values.Get(i).Number()), nil
			}
		}
	}
	i, err := whole(v, 32)
	if err == nil && values.ByNumber(protoreflect.EnumNumber(i)) != nil {
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(i)), nil
	}
	var names []string
	for i := range min(values.Len(), 12) {
		names = append(names, string(values.Get(i).Name()))
	}
	return protoreflect.Value{}, fmt.Errorf("no such value; there are %s", strings.Join(names, ", "))
}

func number(fd protoreflect.FieldDescriptor, v *envoyyaml.Value) (protoreflect.Value, error) {
	switch fd.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		i, err := whole(v, 32)
		return protoreflect.ValueOfInt32(int32(i)), err
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		i, err := whole(v, 64)
		return protoreflect.ValueOfInt64(i), err
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		i, err := natural(v, 32)
		return protoreflect.ValueOfUint32(uint32(i)), err
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		i, err := natural(v, 64)
		return protoreflect.ValueOfUint64(i), err
	case protoreflect.FloatKind:
		f, err := fraction(v, 32)
		return protoreflect.ValueOfFloat32(float32(f)), err
	}
	f, err := fraction(v, 64)
	return protoreflect.ValueOfFloat64(f), err
}

var (
	errWhole    = errors.New("not a whole number in range")
	errFraction = errors.New("not a number in range")
)

func whole(v *envoyyaml.Value, bits int) (int64, error) {
	i, err := strconv.ParseInt(digitsOf(v), 10, bits)
	if err != nil {
		return 0, errWhole
	}
	return i, nil
}

func natural(v *envoyyaml.Value, bits int) (uint64, error) {
	text := strings.TrimPrefix(digitsOf(v), "+")
	if text == "-0" && v.Kind == envoyyaml.Number {
		text = "0"
	}
	i, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0, errWhole
	}
	return i, nil
}

// digitsOf is a number without fraction and exponent, where it can be written so. A
// string has to be written so already.
func digitsOf(v *envoyyaml.Value) string {
	if v.Kind != envoyyaml.Number || !strings.ContainsAny(v.Text, ".eE") || len(v.Text) > 40 {
		return v.Text
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	if err != nil || f > 1e20 || f < -1e20 {
		return v.Text
	}
	if r, ok := new(big.Rat).SetString(v.Text); ok && r.IsInt() {
		return r.Num().String()
	}
	return v.Text
}

func fraction(v *envoyyaml.Value, bits int) (float64, error) {
	text := strings.TrimSpace(v.Text)
	if digits := strings.ToLower(strings.TrimLeft(text, "+-")); strings.HasPrefix(digits, "0x") && !strings.Contains(digits, "p") {
		text += "p0" // without which Go takes no hexadecimal number
	}
	f, err := strconv.ParseFloat(text, bits)
	if err != nil || strings.Contains(text, "_") {
		return 0, errFraction
	}
	return f, nil
}

// mapKey reads a key, which is always a string in a file.
func mapKey(fd protoreflect.FieldDescriptor, key string) (protoreflect.MapKey, error) {
	v, err := scalar(fd, &envoyyaml.Value{Kind: envoyyaml.String, Text: key})
	if err != nil {
		return protoreflect.MapKey{}, err
	}
	return v.MapKey(), nil
}
