package configdiff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"policyengine.dev/runtime/worker"
)

const (
	// maxParameters is how many changed values are reported of one step, and maxValue how many bytes of
	// each.
	maxParameters = 20
	maxValue      = 200
)

// parameter is a value of a step's parameters that has changed.
type parameter struct{ path, old, new, note string }

// parameters returns what has changed, with secrets masked as the versions' definitions
// say. Without a version all is masked.
func parameters(oldVersion, newVersion *worker.Version, old, new json.RawMessage) []parameter {
	before, after := read(old), read(new)
	if reflect.DeepEqual(before, after) {
		return nil
	}
	w := walk{}
	w.value("params", before, after, masked(oldVersion, old), masked(newVersion, new))
	if w.more > 0 {
		w.found = append(w.found, parameter{path: "params", note: fmt.Sprintf("and %d more values", w.more)})
	}
	return w.found
}

// absent stands for a value that is not there.
type absent struct{}

// read decodes parameters. Without any they are an empty object.
func read(params json.RawMessage) any {
	if len(params) == 0 {
		return map[string]any{}
	}
	d := json.NewDecoder(bytes.NewReader(params))
	d.UseNumber()
	var value any
	if d.Decode(&value) != nil {
		return string(params) // it is never shown: what is no JSON is masked as a whole
	}
	return value
}

func masked(v *worker.Version, params json.RawMessage) any {
	if len(params) == 0 {
		return map[string]any{}
	}
	if v == nil {
		return "[redacted]"
	}
	return read(v.Definition.Redact(params))
}

type walk struct {
	found []parameter
	more  int
}

// value compares two values. The masked ones are of the same shape, but for what is
// masked as a whole.
func (w *walk) value(path string, old, new, oldMasked, newMasked any) {
	if reflect.DeepEqual(old, new) {
		return
	}
	if objects(old, new, oldMasked, newMasked) {
		was, is := old.(map[string]any), new.(map[string]any)
		wasMasked, isMasked := oldMasked.(map[string]any), newMasked.(map[string]any)
		for _, key := range union(was, is) {
			w.value(path+"/"+escape(key), member(was, key), member(is, key), member(wasMasked, key), member(isMasked, key))
		}
		return
	}
	if lists(old, new, oldMasked, newMasked) {
		was, is := old.([]any), new.([]any)
		wasMasked, isMasked := oldMasked.([]any), newMasked.([]any)
		for i := range max(len(was), len(is)) {
			w.value(path+"/"+strconv.Itoa(i), element(was, i), element(is, i), element(wasMasked, i), element(isMasked, i))
		}
		return
	}
	if len(w.found) == maxParameters {
		w.more++
		return
	}
	p := parameter{path: path, old: show(oldMasked), new: show(newMasked)}
	if p.old == p.new {
		p.note = "the values differ and are masked"
	}
	w.found = append(w.found, p)
}

func objects(all ...any) bool {
	for _, v := range all {
		if _, ok := v.(map[string]any); !ok {
			return false
		}
	}
	return true
}

func lists(all ...any) bool {
	for _, v := range all {
		if _, ok := v.([]any); !ok {
			return false
		}
	}
	return true
}

func member(object map[string]any, key string) any {
	if v, ok := object[key]; ok {
		return v
	}
	return absent{}
}

func element(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return absent{}
}

// escape is a name as a part of a JSON pointer.
func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// show is a masked value as JSON, shortened.
func show(value any) string {
	if _, is := value.(absent); is {
		return "(absent)"
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "(not JSON)"
	}
	if len(text) > maxValue {
		return strings.ToValidUTF8(string(text[:maxValue]), "") + "..."
	}
	return string(text)
}
