package message_test

import (
	"fmt"
	"strings"
)

// spelling is a way to write a field, which Envoy may take or not.
type spelling struct {
	place string // where it goes in listenerText
	text  string
	json  bool // in a file of JSON
}

func (s spelling) String() string {
	if s.json {
		return "JSON, " + s.place + ", " + s.text
	}
	return s.place + ", " + s.text
}

// listener is a listener in which a field is spelled in some way.
func (s spelling) listener(name string) string {
	fill := strings.NewReplacer("NAME", name)
	text := listenerText
	if s.json {
		text = listenerJSON
	}
	text = strings.ReplaceAll(text, "<"+s.place+">", s.text)
	for place, plain := range plainText {
		if s.json {
			plain = plainJSON[place]
		}
		text = strings.ReplaceAll(text, "<"+place+">", plain)
	}
	return fill.Replace(text)
}

const listenerText = `
    name: NAME
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    per_connection_buffer_limit_bytes: <uint32>
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: x
          generate_request_id: <wrapper>
          tracing: {client_sampling: {value: <double>}}
          upgrade_configs: <messages>
          route_config: {name: r, virtual_hosts: [{name: v, domains: ["*"], routes: [{match: <oneof>, direct_response: {status: 200},
            name: <string>, request_body_buffer_limit: <uint64>, metadata: {filter_metadata: {ns: {k: <struct>}}}}]}]}
          http_filters:
          - name: envoy.filters.http.ext_proc
            typed_config:
              "@type": <type>
              grpc_service: {envoy_grpc: {cluster_name: policy-engine}}
              failure_mode_allow: <bool>
              message_timeout: <duration>
              processing_mode: {request_header_mode: <enum>, response_header_mode: SKIP}
              request_attributes: <strings>
              deferred_close_timeout: <duration too>
              <field>
          - {name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
`

// plainText has what stands where no spelling is tried.
var plainText = map[string]string{
	"uint32": "1000", "wrapper": "true", "double": "50", "messages": "[]", "oneof": "{prefix: /}", "string": "name", "uint64": "1000", "struct": "1",
	"type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
	"bool": "false", "duration": "1s", "enum": "SEND", "strings": "[request.path]", "duration too": "1s", "field": "# nothing more",
}

const listenerJSON = `{"name": "NAME", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}, "per_connection_buffer_limit_bytes": <uint32>,
  "filter_chains": [{"filters": [{"name": "http", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
    "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200},
      "metadata": {"filter_metadata": {"ns": {"k": <struct>}}}}]}]},
    "http_filters": [{"name": "envoy.filters.http.ext_proc", "typed_config": {
      "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor", "grpc_service": {"envoy_grpc": {"cluster_name": "policy-engine"}},
      "failure_mode_allow": <bool>, "message_timeout": <duration>, "processing_mode": {"request_header_mode": <enum>, "response_header_mode": "SKIP"}}},
      {"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}]}`

var plainJSON = map[string]string{"uint32": "1000", "struct": "1", "bool": "false", "duration": `"1s"`, "enum": `"SEND"`}

// spellings are ways to write a value of every kind, those that Envoy takes and those
// that it does not.
var spellings = all(map[string][]string{
	"bool": {
		"true", "True", "TRUE", "tRUE", "yes", "Yes", "YES", "yEs", "y", "Y", "on", "On", "ON", "oN", "t", "T", "false", "False", "FALSE", "fAlSe", "no", "No", "NO", "nO",
		"n", "N", "off", "Off", "OFF", "oFF", "f", "1", "0", `"true"`, "'true'", `"True"`, `"yes"`, `"1"`, `"0"`, `"on"`, `"off"`, `""`, `" true"`, `"true "`, "!!bool yes",
		"!!str yes", "! yes", "!odd yes", "~", "null", "Null", "NULL", "nULL", "", "{value: true}", "[true]", "\n                yes", ">-\n                yes", "|\n                yes",
		`"\x79es"`, "&a yes", "yes # so", "1.0", "0x1", "!!str null", "!!null yes",
	},
	"wrapper":  {"True", "yes", `"true"`, "{value: true}", "{value: off}", "{value: ~}", "{}", "null", "1", "{Value: true}", "{value: [true]}", "[]"},
	"enum":     {"skip", "SKIP", "Skip", "sKiP", `"skip"`, "2", `"2"`, "0x2", "02", "+2", "2.0", `"2.0"`, "2e0", "SKIP ", `"SKIP "`, "3", "99", `"99"`, "-1", "null", "~", "DEFAULT", "NO", "true", "{}", "[SKIP]"},
	"duration": durations, "duration too": {"{seconds: 3}", "5s"},
	"uint32": {
		"5", `"5"`, "{value: 5}", `{value: "5"}`, "{value: 0x5}", "0x5", "0X1f", "005", "010", "08", "0", "00", "0x", "-0", "5.0", `"5.0"`, "5e0", "5e1", `"5e1"`, "+5", `"+5"`, "-5", `"-0"`, "5.5",
		"4294967295", "4294967296", "0xFFFFFFFF", "0xffffffffff", "1_000", "0b11", "0o17", `" 5"`, `"5 "`, "true", "null", "{}", ".5e1", "5L", "1e400", ".inf", "NaN", `"0x5"`, `"010"`, "+0x5", "--5", "+-5", "[5]",
	},
	"uint64":   {"9007199254740993", `"9007199254740993"`, "18446744073709551615", "18446744073709551616", "-1", "0x7fffffffffffffff", "0xffffffffffffffff", "1e3", "9223372036854775808", "2147483648", "{value: 2147483648}"},
	"double":   {"50", "50.5", ".5", "5.", `"50.5"`, "1e1", `"1e1"`, "0x10", "010", "+5", "-0", "0x1p4", `" 5"`, `"5 "`, "1_0", "0x1_0", ".inf", "5f", "true", "null", "{value: 1}", `"0x10"`, "1E+1", ""},
	"string":   {"name", "5", "yes", "true", `"yes"`, "5.5", "null", "~", "Null", `"null"`, "[]", "0x10", "99999999999", "2001-01-01", "", "!!str 5", "!!str yes", "1e5", "010", "08", "=", "<<", "tRue", "nO", "1_000", "'5'", "+", "0x"},
	"struct":   {"5", "yes", `"yes"`, "5.5", "null", `[1, yes, "no", 2.5, null]`, "0x10", "99999999999", "-99999999999", "2001-01-01", "{yes: 1, 5: no}", "-0", "010", "~", "1.0", "+5", ".5", "1e3", "-2147483648", "2147483648", "tRue", "{a: {b: [c]}}"},
	"strings":  {"request.path", "[request.path]", "[[request.path], request.host]", "[]", "null", "{}", "[yes]", "[5]", `["request.path"]`, "[request.path, [request.host, [request.id]]]"},
	"messages": {"[{upgrade_type: a}]", "{upgrade_type: a}", "[[{upgrade_type: a}], {upgrade_type: b}]", "null", "a", "[a]", "[null]"},
	"oneof":    {"{prefix: /, path: /x}", "{path: null, prefix: /}", "{prefix: /, path: ~}", "{prefix: /, prefix: /x}"},
	"type":     {"a/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor", "a/b/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"},
	"field": {
		"observabilityMode: yes", "observability_mode: false\n              observability_mode: true",
		"ObservabilityMode: yes", "observability-mode: true", `"observability_mode": yes`, "? observability_mode\n              : yes", `"observability_mode ": yes`, "!!str observability_mode: on",
		"mutation_rules: null", "mutation_rules: {}", "mutation_rules: []", "mutation_rules: {allow_all_routing: yes, allowEnvoy: {value: On}}", "mutation_rules: [{allow_all_routing: yes}]", "mutation_rules: true", `mutation_rules: ""`,
		"<<: {observability_mode: true}", "statPrefix: a", "max_message_timeout: {seconds: 0x10, nanos: 1000}", "metadata_options: {forwarding_namespaces: {untyped: a}}", "x: 1",
	},
}, map[string][]string{
	"bool": {"true", "false", "True", `"true"`, `"yes"`, `"on"`, "1", "yes", "null"}, "duration": {`"1s"`, `{"seconds": 1}`, "1", `{"seconds": 1.0}`, `{"seconds": 1e1}`},
	"uint32": {"5", "5.0", "5e0", "50e-1", `"5"`, `"5.0"`, "5.5", `{"value": 5}`, "-0", "1E1", "4294967296.0", "-1"}, "enum": {`"skip"`, "2", "2.0", `"2"`, "null", "2.5"},
	"struct": {"1", "1.5", "9007199254740993", "1e3", `"x"`, "-0.0", "true", "null", `"true"`},
})

var durations = []string{
	"1s", `"1s"`, "1", "1.5s", "{seconds: 1}", "{seconds: 1, nanos: 5}", "{}", `{seconds: "1"}`, "1S", "1ms", "0.5s", ".5s", "5.s", "1e3s", "+1s", "1.000000001s", "1.0000000001s", "1h", " 1s", `"1s "`, `" 1s"`, "-0s",
	"01s", "0x1s", "1_0s", "null", "315576000001s", "[]", "{seconds: 0x10}", "{seconds: 1e1}", "{seconds: 1.0}", `{seconds: "1.0"}`, "{Seconds: 1}", "{seconds: yes}", "s", "1.-5s", "--1s",
}

func all(yaml, json map[string][]string) (all []spelling) {
	for place, texts := range yaml {
		for _, text := range texts {
			all = append(all, spelling{place: place, text: text})
		}
	}
	for place, texts := range json {
		for _, text := range texts {
			all = append(all, spelling{place: place, text: text, json: true})
		}
	}
	return all
}

// bootstrap is a configuration with some listeners.
func bootstrap(all []spelling, json bool) string {
	var b strings.Builder
	b.WriteString("static_resources:\n  clusters:\n  - {name: policy-engine, type: STATIC, load_assignment: {cluster_name: policy-engine, endpoints: []}}\n  listeners:\n")
	if json {
		b.Reset()
		b.WriteString(`{"static_resources": {"clusters": [{"name": "policy-engine", "type": "STATIC", "load_assignment": {"cluster_name": "policy-engine", "endpoints": []}}], "listeners": [`)
	}
	for i, s := range all {
		text := s.listener(fmt.Sprint("l", i))
		switch {
		case json && i > 0:
			b.WriteString(",\n" + text)
		case json:
			b.WriteString(text)
		default:
			b.WriteString("  -" + strings.TrimPrefix(text, "\n   "))
		}
	}
	if json {
		b.WriteString("]}}")
	}
	return b.String()
}
