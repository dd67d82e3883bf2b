package check

import (
	"fmt"
	"strings"

	"policyengine.dev/tools/pectl/envoyconfig/envoyyaml"
	"policyengine.dev/tools/pectl/envoyconfig/message"
)

// People who run Envoy on Kubernetes have its configuration in resources of their
// gateway or mesh, or in ConfigMaps.

// kubernetes adds what a Kubernetes resource has of an Envoy configuration, and reports
// whether it is a whole one.
func (r *resources) kubernetes(v *envoyyaml.Value) (whole bool) {
	kind, spec := textOf(v, "kind"), v.Get("spec")
	name := textOf(v.Get("metadata"), "name")
	in := scope{}.within(kind, name)
	group, _, _ := strings.Cut(textOf(v, "apiVersion"), "/")
	switch {
	case kind == "List":
		for _, item := range itemsOf(v, "items") {
			whole = r.document(item) || whole
		}
	case kind == "ConfigMap":
		return r.configMap(v)
	case kind == "EnvoyFilter" && group == "networking.istio.io":
		r.envoyFilter(spec, in)
	case kind == "EnvoyPatchPolicy" && group == envoyGateway:
		r.patchPolicy(spec, in)
	case kind == "EnvoyExtensionPolicy" && group == envoyGateway:
		r.extensionPolicy(spec, in)
	case kind == "EnvoyProxy" && group == envoyGateway:
		r.envoyProxy(spec, in)
	}
	return whole
}

const envoyGateway = "gateway.envoyproxy.io"

func textOf(v *envoyyaml.Value, name string) string {
	if field := v.Get(name); field != nil {
		return field.Text
	}
	return ""
}

func itemsOf(v *envoyyaml.Value, name string) []*envoyyaml.Value {
	if field := v.Get(name); field != nil {
		return field.Items
	}
	return nil
}

// tell notes a finding about a resource.
func (r *resources) tell(rule string, severity Severity, v *envoyyaml.Value, in scope, problem, remedy string) {
	r.told = append(r.told, tale{rule, severity, message.Place(v), in, problem, remedy})
}

// configMap adds the Envoy configurations among a ConfigMap's files.
func (r *resources) configMap(v *envoyyaml.Value) (whole bool) {
	data := v.Get("data")
	if data == nil {
		return false
	}
	for _, f := range data.Fields {
		if f.Value.Kind != envoyyaml.String {
			continue
		}
		documents, err := r.reader.Text(f.Key, f.Value)
		if err != nil {
			if looksLikeEnvoy(f.Value.Text) {
				r.problems = append(r.problems, message.Problem{Kind: message.Unreadable, At: message.Place(f.Value), Text: err.Error()})
			}
			continue
		}
		for _, document := range documents {
			if document.Kind == envoyyaml.Mapping || document.Kind == envoyyaml.List {
				whole = r.document(document) || whole
			}
		}
	}
	return whole
}

// looksLikeEnvoy reports whether a text that cannot be read may be a configuration of
// Envoy's.
func looksLikeEnvoy(s string) bool {
	for _, word := range []string{"static_resources", "staticResources", "dynamic_resources", "typed_config", "typedConfig", "@type"} {
		if strings.Contains(s, word) {
			return true
		}
	}
	return false
}

// patched are the messages that Istio's EnvoyFilter patches, by applyTo.
var patched = map[string]string{
	"LISTENER": listenerMsg, "FILTER_CHAIN": envoyConfig + "listener.v3.FilterChain", "NETWORK_FILTER": envoyConfig + "listener.v3.Filter",
	"LISTENER_FILTER": envoyConfig + "listener.v3.ListenerFilter", "HTTP_FILTER": httpFilterMsg, "ROUTE_CONFIGURATION": routesMsg, "VIRTUAL_HOST": hostMsg,
	"HTTP_ROUTE": routeMsg, "CLUSTER": clusterMsg, "EXTENSION_CONFIG": extensionMsg, "BOOTSTRAP": bootstrapMsg,
}

// envoyFilter adds the patches of an EnvoyFilter of Istio's.
func (r *resources) envoyFilter(spec *envoyyaml.Value, in scope) {
	for i, v := range itemsOf(spec, "configPatches") {
		in := in.within("patch", fmt.Sprintf("#%d", i))
		patch := v.Get("patch")
		value, operation, applyTo := patch.Get("value"), textOf(patch, "operation"), textOf(v, "applyTo")
		name := patched[applyTo]
		switch {
		case name == "":
			r.tell(NotExamined, Warning, v, in, fmt.Sprintf("what this patch does was not examined: applyTo is %q", applyTo), "see to it by hand that no request gets past the engine's filter")
		case operation == "REMOVE":
			if applyTo == "HTTP_FILTER" || applyTo == "NETWORK_FILTER" || applyTo == "LISTENER" || applyTo == "EXTENSION_CONFIG" {
				r.tell(FilterUnseen, Warning, v, in, "this patch takes something out, which may be the engine's filter", "see to it that it is another one")
			}
		case value != nil && value.Kind == envoyyaml.Mapping:
			r.patch(value, name, operation == "MERGE" || operation == "", in)
		}
	}
}

// patch adds a message that is put into a configuration, or laid over one that is there.
func (r *resources) patch(value *envoyyaml.Value, name string, partial bool, in scope) {
	n := r.decode(value, name)
	switch {
	case name == bootstrapMsg:
		r.bootstrap(n, true, true)
	case !partial && (name == listenerMsg || name == clusterMsg):
		r.add(n)
		return
	case name == extensionMsg:
		r.add(n)
	}
	r.fragments = append(r.fragments, fragment{n, in, partial})
}
