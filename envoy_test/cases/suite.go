package cases

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"policyengine.dev/sdk/strictyaml"
)

// Suite is a file of cases that share one Envoy and one engine. Exchanges follow one
// another on them.
type Suite struct {
	// File is the path it was read from.
	File string
	// About says in a line what the suite shows.
	About string
	// Lines are those of lines.yaml that every exchange shows.
	Lines []string
	// Policies are the policy versions that the suite is about, such as cors/v1.0.0.
	// Such a suite need not show a line.
	Policies []string
	Envoy    EnvoyPart
	// Modes gives each route that says nothing of filters the body modes that its
	// chains need, as an operator is told to. It is true unless the suite says
	// something of the filter's modes.
	Modes bool
	// Engine is merged into the engine's engine.yaml.
	Engine map[string]any
	// Chains are the engine's. Where there are none there is no engine, and the
	// exchanges say what a processor does.
	Chains strictyaml.Node
	// Unready says that the engine waits for other chains at first.
	Unready bool
	// Server is how the scripted processor is reached.
	Server ServerPart
	// Collector starts a collector of traces, to which the engine sends its
	// spans. It is Envoy's cluster "collector" too.
	Collector bool
	// Redis starts a Redis server, whose address chains call ${redis}.
	Redis     bool
	Exchanges []Exchange
}

// EnvoyPart is what differs from the Envoy that an operator is told to set up: see
// harness.Bootstrap. Field names and values are Envoy's own.
type EnvoyPart struct {
	// Routes are the names of routes, each for the paths that begin with a
	// slash and that name and for no other; or Envoy's own messages.
	Routes      []any          `yaml:"routes"`
	Before      []any          `yaml:"before"`
	After       []any          `yaml:"after"`
	ExtProc     map[string]any `yaml:"ext_proc"`
	Connection  map[string]any `yaml:"connection"`
	Listener    map[string]any `yaml:"listener"`
	Cluster     map[string]any `yaml:"cluster"`
	VirtualHost map[string]any `yaml:"virtual_host"`
	// Upstream is merged into the upstream's cluster.
	Upstream map[string]any `yaml:"upstream"`
	// Runtime are values of Envoy's runtime.
	Runtime map[string]any `yaml:"runtime"`
	// HTTP2 has Envoy talk HTTP/2 to the upstream.
	HTTP2 bool `yaml:"http2"`
	// ClientCertificates has the listener speak TLS and verify certificates that
	// clients show. One need not be shown: see Request.Certificate.
	ClientCertificates bool `yaml:"client_certificates"`
}

// Exchange is one request and what becomes of it.
type Exchange struct {
	// Name says what the exchange proves.
	Name  string   `yaml:"name,required"`
	Lines []string `yaml:"lines"`
	// First is done before: "kill the engine", "terminate the engine" (which
	// drains and ends) or "start the engine" anew; "stop redis", or "start redis" anew.
	First string `yaml:"first"`
	// Rehearsals is how often the request is sent before it counts.
	Rehearsals int `yaml:"rehearsals"`
	// Together is how often the request is sent at the same time; each of them
	// has to come out as wanted, but for those that Want.Others names. 0 counts
	// as 1.
	Together int `yaml:"together"`
	// Chains are put into the engine's file before, and waited for.
	Chains   strictyaml.Node `yaml:"chains"`
	Request  Request         `yaml:"request"`
	Upstream Upstream        `yaml:"upstream"`
	// Processor is what a scripted processor does, in suites without chains.
	Processor []Step `yaml:"processor"`
	Want      Want   `yaml:"want,required"`
}

// Request is what the client sends.
type Request struct {
	// Method is GET, or POST where there is a body, by default.
	Method string `yaml:"method"`
	// Path is / by default; it may have a query. CONNECT has none: Host says
	// where to.
	Path    string  `yaml:"path"`
	Host    string  `yaml:"host"`
	Headers Headers `yaml:"headers"`
	Body    string  `yaml:"body"`
	// BodySize is a body of so many bytes; after chunks it is one more.
	BodySize int `yaml:"bodySize"`
	// Chunks are sent one by one, without a declared length.
	Chunks []string `yaml:"chunks"`
	// Pause lies between chunks, and before trailers.
	Pause    time.Duration `yaml:"pause"`
	Trailers Headers       `yaml:"trailers"`
	// Encoding compresses the body (gzip, deflate, br or zstd) and says so in
	// content-encoding.
	Encoding string `yaml:"encoding"`
	// HTTP2 sends it over HTTP/2.
	HTTP2 bool `yaml:"http2"`
	// Certificate is shown to a listener that has ClientCertificates.
	Certificate *Certificate `yaml:"certificate"`
	// Pipelined sends the requests of Exchange.Together one behind the other on
	// one HTTP/1.1 connection, and holds every byte that comes back to be part of
	// one of their responses.
	Pipelined bool `yaml:"pipelined"`
	// Upgrade asks for this protocol. The body, a line, is sent once it is in
	// force, and the response's body is the line that comes back.
	Upgrade string `yaml:"upgrade"`
	// Cancel ends the exchange so long after the request has been sent, and
	// Leave when it has come so far.
	Cancel time.Duration `yaml:"cancel"`
	Leave  Leave         `yaml:"leave"`
}

// Upstream is what the upstream answers.
type Upstream struct {
	// Status is 200 by default.
	Status        int     `yaml:"status"`
	Informational []int   `yaml:"informational"`
	Headers       Headers `yaml:"headers"`
	Body          string  `yaml:"body"`
	BodySize      int     `yaml:"bodySize"`
	// Chunks are sent one by one, without a declared length.
	Chunks []string `yaml:"chunks"`
	// Pause lies between chunks, and before trailers.
	Pause    time.Duration `yaml:"pause"`
	Trailers Headers       `yaml:"trailers"`
	// Delay lies before the answer.
	Delay time.Duration `yaml:"delay"`
	// Encoding is as a request's.
	Encoding string `yaml:"encoding"`
	// Early sends headers before the request's body was read.
	Early bool `yaml:"early"`
	// Unread sends the whole answer without a look at the request's body.
	Unread bool `yaml:"unread"`
	// Abort breaks the connection off.
	Abort bool `yaml:"abort"`
}

// Want is what is expected. What is not named is not looked at, but for Envoy's
// counts of what went wrong: see harness.Guarded.
type Want struct {
	Status int `yaml:"status,required"`
	// Others are the statuses of those among requests sent together that come
	// out otherwise, of which nothing else is looked at.
	Others []int `yaml:"others"`
	// Headers are those of the response; a null is a header that is not there.
	Headers Headers `yaml:"headers"`
	// Body is the whole body, Contains a part of it, BodySize its length.
	Body     *string `yaml:"body"`
	Contains string  `yaml:"contains"`
	BodySize *int    `yaml:"bodySize"`
	// Decoded is the body with its content-encoding undone.
	Decoded       *string `yaml:"decoded"`
	Trailers      Headers `yaml:"trailers"`
	Informational []int   `yaml:"informational"`
	// Reason is that of problem details in the body, whose status has to be
	// the response's. Response code details end in it too, and a 503 says when
	// to try again. What the upstream saw has to be said with it.
	Reason string `yaml:"reason"`
	// Broken says that the response ends before its body does.
	Broken bool `yaml:"broken"`
	// Reached says what the upstream saw; "nothing" is that it saw nothing.
	Reached Reached `yaml:"reached"`
	// Details and Flags are Envoy's response code details and response flags,
	// and Route the name of the route.
	Details string `yaml:"details"`
	Flags   string `yaml:"flags"`
	// Counters are how far Envoy's counts rise by the exchange. Each of those
	// in harness.Guarded that is not named must not.
	Counters map[string]int64 `yaml:"counters"`
	// Stats are how far others of Envoy's counters rise, by their whole names.
	Stats map[string]int64 `yaml:"stats"`
	// Admin is what pages of Envoy's admin interface have in them afterwards.
	Admin map[string]string `yaml:"admin"`
	// Spans are all that the engine makes of the exchange, and those of Envoy's
	// that are named. One too many fails this exchange or the next.
	Spans []Span `yaml:"spans"`
}

// Reached is what the upstream saw of a request.
type Reached struct {
	// Given says that the file says something about it.
	Given bool
	// Nothing says that the upstream was not reached.
	Nothing bool
	reached
}

type reached struct {
	Method   string  `yaml:"method"`
	Target   string  `yaml:"target"`
	Host     string  `yaml:"host"`
	Headers  Headers `yaml:"headers"`
	Body     *string `yaml:"body"`
	BodySize *int    `yaml:"bodySize"`
	// Decoded is the body with its content-encoding undone.
	Decoded  *string `yaml:"decoded"`
	Trailers Headers `yaml:"trailers"`
	// Broken says that the body broke off.
	Broken bool `yaml:"broken"`
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (r *Reached) UnmarshalNode(n strictyaml.Node) error {
	r.Given = true
	if n.Kind() == strictyaml.String {
		if r.Nothing = n.Text() == "nothing"; !r.Nothing {
			return n.Problem("not what an upstream can have seen", `write "nothing" or a mapping`)
		}
		return nil
	}
	return n.Decode(&r.reached)
}

// Headers are header fields, or what is expected of them, in the file's order.
type Headers []Header

// Header is one name with its values. None, not even an empty one, is that the
// header is not there.
type Header struct {
	Name   string
	Values []string
}

// UnmarshalNode reads {name: value, other: [value, value], third: null}.
func (h *Headers) UnmarshalNode(n strictyaml.Node) error {
	if n.Kind() != strictyaml.Mapping {
		return n.Problem("not headers", "write name: value, name: [value, value], or name: null for one that is not there")
	}
	var found strictyaml.Diagnostics
	for name, field := range n.Fields {
		header := Header{Name: name}
		switch field.Kind() {
		case strictyaml.Null:
		case strictyaml.List:
			found.AddError(field, field.Decode(&header.Values))
		default:
			header.Values = []string{field.Text()}
		}
		*h = append(*h, header)
	}
	return found.Err()
}

type suiteFile struct {
	About     string          `yaml:"about,required"`
	Lines     []string        `yaml:"lines"`
	Policies  []string        `yaml:"policies"`
	Envoy     EnvoyPart       `yaml:"envoy"`
	Engine    map[string]any  `yaml:"engine"`
	Chains    strictyaml.Node `yaml:"chains"`
	Unready   bool            `yaml:"unready"`
	Server    ServerPart      `yaml:"server"`
	Collector bool            `yaml:"collector"`
	Redis     bool            `yaml:"redis"`
	Exchanges []Exchange      `yaml:"exchanges,required"`
}

// modes reports whether routes get the body modes that their chains need.
func (f *suiteFile) modes() bool {
	for _, field := range []string{"processing_mode", "allow_mode_override", "observability_mode", "send_body_without_waiting_for_header_response"} {
		if _, said := f.Envoy.ExtProc[field]; said {
			return false
		}
	}
	filter, _ := f.Engine["filter"].(map[string]any)
	return filter["preferModeOverride"] != true
}

var firsts = []string{"", "kill the engine", "terminate the engine", "start the engine", "stop redis", "start redis"}

// Read reads a suite. The error names everything that is wrong with the file.
func Read(file string) (Suite, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return Suite{}, fmt.Errorf("reading cases: %w", err)
	}
	root, err := strictyaml.Parse(file, src)
	if err != nil {
		return Suite{}, err
	}
	var f suiteFile
	var found strictyaml.Diagnostics
	found.AddError(root, root.Decode(&f))
	names, lines := map[string]bool{}, 0
	for i, x := range f.Exchanges {
		n := root.At("exchanges", i)
		if names[x.Name] {
			found.Add(n.At("name").Problem("a second exchange of this name", "name it otherwise"))
		}
		names[x.Name] = true
		if !slices.Contains(firsts, x.First) {
			found.Add(n.At("first").Problem("not what can be done first", "write one of "+strings.Join(firsts[1:], ", ")))
		}
		if x.Request.Certificate != nil && (!f.Envoy.ClientCertificates || x.Request.HTTP2 || x.Request.Pipelined || x.Request.Upgrade != "") {
			found.Add(n.At("request", "certificate").Problem("nobody to show a certificate to", "say client_certificates: true of envoy, and leave http2, pipelined and upgrade out"))
		}
		if x.Request.Pipelined && (x.Request.HTTP2 || x.Together < 2) {
			found.Add(n.At("request").Problem("nothing to send behind one another on an HTTP/1.1 connection", "say together: 2, and leave http2 out"))
		}
		if x.Want.Reason != "" && !x.Want.Reached.Given {
			found.Add(n.At("want").Problem("a refusal, and nothing is said about the upstream", "add reached: nothing, or what the upstream saw"))
		}
		if f.Chains.Kind() == strictyaml.Missing && (x.First != "" || x.Chains.Kind() != strictyaml.Missing) {
			found.Add(n.Problem("there is no engine to do anything with", "give the suite chains"))
		}
		if x.Want.Spans != nil && !f.Collector {
			found.Add(n.At("want", "spans").Problem("nobody collects spans", "give the suite a collector"))
		}
		if x.Want.Spans == nil && f.Collector && f.Chains.Kind() != strictyaml.Missing {
			found.Add(n.At("want").Problem("spans that nobody waits for would be taken for the next exchange's", "say which"))
		}
		if f.Chains.Kind() != strictyaml.Missing && x.Processor != nil {
			found.Add(n.At("processor").Problem("there is an engine already", "leave it out, or the suite's chains"))
		}
		if strings.HasSuffix(x.First, "redis") && !f.Redis {
			found.Add(n.At("first").Problem("there is no Redis", "say redis: true of the suite"))
		}
		if x.First == "start the engine" && x.Chains.Kind() == strictyaml.Missing {
			found.Add(n.Problem("an engine is started without chains", "say which"))
		}
		lines += len(f.Lines) + len(x.Lines)
	}
	if lines+len(f.Policies) == 0 {
		found.Add(root.Problem("shows nothing", "name the lines of lines.yaml that it or its exchanges show, or the policies that it is about"))
	}
	return Suite{
		File: file, About: f.About, Lines: f.Lines, Policies: f.Policies, Envoy: f.Envoy, Engine: f.Engine, Chains: f.Chains,
		Modes:   f.modes(),
		Unready: f.Unready, Server: f.Server, Collector: f.Collector, Redis: f.Redis, Exchanges: f.Exchanges,
	}, found.Err()
}
