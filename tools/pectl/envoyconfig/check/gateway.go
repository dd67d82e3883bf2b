package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"policyengine.dev/tools/pectl/envoyconfig/envoyyaml"
	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// envoyProxy adds the bootstrap configuration of an EnvoyProxy.
func (r *resources) envoyProxy(spec *envoyyaml.Value, in scope) {
	bootstrap := spec.Get("bootstrap")
	if v := bootstrap.Get("value"); v != nil && v.Kind == envoyyaml.String {
		documents, err := r.reader.Text("bootstrap.yaml", v)
		if err != nil {
			r.problems = append(r.problems, message.Problem{Kind: message.Unreadable, At: message.Place(v), Text: err.Error()})
			return
		}
		for _, document := range documents {
			r.patch(document, bootstrapMsg, true, in)
		}
	}
	for i, v := range itemsOf(bootstrap, "jsonPatches") {
		r.jsonPatch(v, bootstrapMsg, in.within("patch", fmt.Sprintf("#%d", i)))
	}
}

// patchPolicy adds the patches of an EnvoyPatchPolicy.
func (r *resources) patchPolicy(spec *envoyyaml.Value, in scope) {
	for i, v := range itemsOf(spec, "jsonPatches") {
		in := in.within("patch", fmt.Sprintf("#%d", i)).within("resource", textOf(v, "name"))
		r.jsonPatch(v.Get("operation"), message.TypeName(textOf(v, "type")), in)
	}
}

// jsonPatch adds what an operation of JSON Patch (RFC 6902) puts into a message.
func (r *resources) jsonPatch(operation *envoyyaml.Value, name string, in scope) {
	if operation == nil {
		return
	}
	op, path, value := textOf(operation, "op"), operation.Get("path"), operation.Get("value")
	unexamined := func(why string) {
		r.tell(NotExamined, Warning, operation, in, "what this patch does was not examined: "+why, "see to it by hand that no request gets past the engine's filter")
	}
	switch {
	case !message.Known(name):
		unexamined(fmt.Sprintf("%q is none of Envoy's messages", name))
	case op != "add" && op != "replace" || value == nil:
		unexamined(fmt.Sprintf("its operation is %q", op))
	case path == nil || !strings.HasPrefix(path.Text, "/") && path.Text != "" || textOf(operation, "jsonPath") != "":
		unexamined("it has no plain path")
	default:
		around, ok := wrap(name, path.Text, value)
		if !ok {
			unexamined(fmt.Sprintf("what is at %s is not known", path.Text))
			return
		}
		r.patch(around, name, path.Text != "", in)
	}
}

// wrap puts a value into the message of a name at a path, so that it can be read as a
// part of it.
func wrap(name, path string, v *envoyyaml.Value) (around *envoyyaml.Value, ok bool) {
	const most = 64 // steps
	steps := strings.Split(path, "/")[1:]
	if path == "" {
		return v, true
	}
	if len(steps) > most {
		return nil, false
	}
	for i, step := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
	}
	types, ok := typesAlong(name, steps)
	if !ok {
		return nil, false
	}
	for i, step := range slices.Backward(steps) {
		outer := &envoyyaml.Value{Kind: envoyyaml.Mapping, File: v.File, Line: v.Line, Column: v.Column, Path: v.Path}
		if _, err := strconv.Atoi(step); err == nil || step == "-" {
			outer.Kind, outer.Items = envoyyaml.List, []*envoyyaml.Value{v}
		} else {
			outer.Fields = []envoyyaml.Field{{Key: step, Value: v}}
		}
		if types[i] != "" {
			url := &envoyyaml.Value{Kind: envoyyaml.String, Text: "type.googleapis.com/" + types[i], File: v.File, Line: v.Line, Column: v.Column, Path: v.Path}
			outer.Fields = append([]envoyyaml.Field{{Key: "@type", Value: url}}, outer.Fields...)
		}
		v = outer
	}
	return v, true
}

// typesAlong are the types of the extensions that a path enters, by the step that leads
// from the extension on; "" for any other step. A path does not tell them: each is taken
// to be the message that is looked for at its place.
func typesAlong(name string, steps []string) (types []string, ok bool) {
	found, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil, false
	}
	md := found.Descriptor()
	types = make([]string, len(steps))
	var fd protoreflect.FieldDescriptor // the list or map that is being entered
	for i, step := range steps {
		if fd != nil { // an index, or a key
			if fd = nil; i == len(steps)-1 {
				return types, true
			}
			continue
		}
		if md == nil {
			return nil, false
		}
		if md.FullName() == "google.protobuf.Any" {
			inner := expected(steps[:i], step)
			if inner == nil {
				return nil, false
			}
			md, types[i] = inner, string(inner.FullName())
		}
		field := md.Fields().ByTextName(step)
		if field == nil {
			field = md.Fields().ByJSONName(step)
		}
		if field == nil {
			return nil, false
		}
		switch md = field.Message(); {
		case field.IsMap():
			fd, md = field, field.MapValue().Message()
		case field.IsList():
			fd = field
		}
	}
	return types, true
}

// expected is the message that is looked for in an extension at a path, if it has the
// field.
func expected(path []string, field string) protoreflect.MessageDescriptor {
	for _, name := range []string{hcmMsg, extProcMsg, perRouteMsg, httpOptions, upstreamTLS} {
		within := map[string]string{hcmMsg: "filters", extProcMsg: "http_filters", perRouteMsg: "typed_per_filter_config", httpOptions: "typed_extension_protocol_options", upstreamTLS: "transport_socket"}[name]
		if !slices.Contains(path[max(0, len(path)-3):], within) {
			continue
		}
		found, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
		if err == nil && (found.Descriptor().Fields().ByTextName(field) != nil || found.Descriptor().Fields().ByJSONName(field) != nil) {
			return found.Descriptor()
		}
	}
	return nil
}

// extensionPolicy adds the external processing filters that Envoy Gateway makes of an
// EnvoyExtensionPolicy.
func (r *resources) extensionPolicy(spec *envoyyaml.Value, in scope) {
	for i, v := range itemsOf(spec, "extProc") {
		in := in.within("extProc", fmt.Sprintf("#%d", i))
		filter := mapping(v,
			"name", scalarAt(v, "envoy.filters.http.ext_proc"),
			"typed_config", mapping(v, append([]any{
				"@type", scalarAt(v, "type.googleapis.com/"+extProcMsg),
				"grpc_service", mapping(v, "envoy_grpc", mapping(v, "cluster_name", backend(v))),
				"failure_mode_allow", v.Get("failOpen"),
				"message_timeout", gatewayDuration(v.Get("messageTimeout")),
				"metadata_options", mapping(v, "receiving_namespaces", mapping(v, "untyped", v.Get("metadata").Get("writableNamespaces"))),
			}, processing(v)...)...),
		)
		r.fragments = append(r.fragments, fragment{r.decode(filter, httpFilterMsg), in, false})
	}
}

// processing is what Envoy Gateway makes of processingMode: what is not named is not
// sent.
func processing(v *envoyyaml.Value) []any {
	mode := v.Get("processingMode")
	request, response := mode.Get("request"), mode.Get("response")
	fields := []any{}
	for _, side := range []struct {
		name string
		v    *envoyyaml.Value
	}{{"request", request}, {"response", response}} {
		at := side.v
		if at == nil {
			at = v
		}
		header, body := "SKIP", "NONE"
		if side.v != nil {
			header = "SEND"
			body = map[string]string{"Streamed": "STREAMED", "Buffered": "BUFFERED", "BufferedPartial": "BUFFERED_PARTIAL", "FullDuplexStreamed": "FULL_DUPLEX_STREAMED", "": "NONE"}[textOf(side.v, "body")]
		}
		fields = append(fields, side.name+"_header_mode", scalarAt(at, header), side.name+"_body_mode", scalarAt(at, body))
		if body == "FULL_DUPLEX_STREAMED" {
			fields = append(fields, side.name+"_trailer_mode", scalarAt(at, "SEND"))
		}
	}
	return []any{
		"processing_mode", mapping(v, fields...), "allow_mode_override", mode.Get("allowModeOverride"),
		"request_attributes", request.Get("attributes"), "response_attributes", response.Get("attributes"),
	}
}

// backend is the name of the service that a filter leads to.
func backend(v *envoyyaml.Value) *envoyyaml.Value {
	for _, ref := range itemsOf(v, "backendRefs") {
		if name := ref.Get("name"); name != nil {
			return name
		}
	}
	if name := v.Get("backendRef").Get("name"); name != nil {
		return name
	}
	return scalarAt(v, "")
}

// gatewayDuration is a duration in the notation of Gateway API (1m30s, 250ms) in that of
// Envoy.
func gatewayDuration(v *envoyyaml.Value) *envoyyaml.Value {
	if v == nil {
		return nil
	}
	seconds, ok := parseDuration(v.Text)
	if !ok {
		return v
	}
	return scalarAt(v, seconds)
}

func scalarAt(v *envoyyaml.Value, text string) *envoyyaml.Value {
	return &envoyyaml.Value{Kind: envoyyaml.String, Text: text, File: v.File, Line: v.Line, Column: v.Column, Path: v.Path}
}

// mapping is a mapping at a value's place, of keys (string) and values
// (*envoyyaml.Value), of which those that are nil are left out.
func mapping(v *envoyyaml.Value, fields ...any) *envoyyaml.Value {
	m := &envoyyaml.Value{Kind: envoyyaml.Mapping, File: v.File, Line: v.Line, Column: v.Column, Path: v.Path}
	for i := 0; i < len(fields); i += 2 {
		if value := fields[i+1].(*envoyyaml.Value); value != nil {
			m.Fields = append(m.Fields, envoyyaml.Field{Key: fields[i].(string), Value: value})
		}
	}
	return m
}

// parseDuration reads a duration with units, and writes it in seconds.
func parseDuration(s string) (seconds string, ok bool) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return "", false
	}
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s", true
}
