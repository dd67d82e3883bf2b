package config

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/strictyaml"
)

// LoadEngine reads engine.yaml. Relative paths in it are relative to its own
// directory. The error is the file system's, or strictyaml.Diagnostics with every
// problem of the file.
func LoadEngine(path string) (Engine, error) {
	src, err := readFile(path, maxFile)
	if err != nil {
		return Engine{}, fmt.Errorf("reading the engine's configuration: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return Engine{}, fmt.Errorf("finding the directory of the engine's configuration: %w", err)
	}
	return ParseEngine(path, dir, src)
}

// ParseEngine decodes src, the content of an engine.yaml. file is used in messages
// only; dir, which is absolute, is what relative paths in it are relative to. The
// error is strictyaml.Diagnostics.
func ParseEngine(file, dir string, src []byte) (Engine, error) {
	root, err := strictyaml.Parse(file, src)
	if err != nil {
		return Engine{}, err
	}
	d := engineDecoder{dir: dir, engine: DefaultEngine()}
	var f engineFile
	d.found.AddError(root, root.Decode(&f))
	d.file(root, f)
	if err := d.found.Err(); err != nil {
		return Engine{}, err
	}
	return d.engine, nil
}

// The shape of engine.yaml. Pointers are for what has a default that is not zero.
type engineFile struct {
	Listeners *[]listenerFile `yaml:"listeners"`
	Admin     struct {
		Address *Address `yaml:"address"`
		Pprof   bool     `yaml:"pprof"`
	} `yaml:"admin"`
	Source struct {
		Path           string          `yaml:"path"`
		XDS            *xdsFile        `yaml:"xds"`
		OnInvalidStart *OnInvalidStart `yaml:"onInvalidStart"`
	} `yaml:"source,required"`
	Route  *routeSourceFile `yaml:"route"`
	Limits struct {
		Body              *size   `yaml:"body"`
		Memory            *size   `yaml:"memory"`
		ConcurrentStreams *uint32 `yaml:"concurrentStreams"`
	} `yaml:"limits"`
	Connections struct {
		MaxAge      *notNegative `yaml:"maxAge"`
		MaxAgeGrace *positive    `yaml:"maxAgeGrace"`
	} `yaml:"connections"`
	Drain struct {
		Delay    *notNegative `yaml:"delay"`
		Deadline *notNegative `yaml:"deadline"`
	} `yaml:"drain"`
	Filter    filterFile    `yaml:"filter"`
	Backends  []backendFile `yaml:"backends"`
	Telemetry struct {
		Logs struct {
			Level    logLevel  `yaml:"level"`
			Format   logFormat `yaml:"format"`
			Refusals struct {
				Enabled   *bool  `yaml:"enabled"`
				PerReason *count `yaml:"perReason"`
				PerSecond *count `yaml:"perSecond"`
			} `yaml:"refusals"`
		} `yaml:"logs"`
		Metrics struct {
			Detail detail `yaml:"detail"`
		} `yaml:"metrics"`
		Tracing struct {
			Endpoint    string   `yaml:"endpoint"`
			Insecure    bool     `yaml:"insecure"`
			SampleRatio *float64 `yaml:"sampleRatio"`
		} `yaml:"tracing"`
	} `yaml:"telemetry"`
}

type listenerFile struct {
	Address Address   `yaml:"address,required"`
	Mode    *fileMode `yaml:"mode"`
	Peers   struct {
		UIDs []uint32 `yaml:"uids"`
		GIDs []uint32 `yaml:"gids"`
	} `yaml:"peers"`
	TLS *struct {
		Certificate string   `yaml:"certificate,required"`
		Key         string   `yaml:"key,required"`
		ClientCA    string   `yaml:"clientCA"`
		AllowedSANs []string `yaml:"allowedSANs"`
	} `yaml:"tls"`
	Insecure bool `yaml:"insecure"`
}

type routeSourceFile struct {
	Attribute      string `yaml:"attribute"`
	StreamMetadata string `yaml:"streamMetadata"`
	RouteMetadata  *struct {
		Namespace string `yaml:"namespace,required"`
		Key       string `yaml:"key,required"`
	} `yaml:"routeMetadata"`
}

type filterFile struct {
	MessageTimeout       *positive            `yaml:"messageTimeout"`
	AllowModeOverride    bool                 `yaml:"allowModeOverride"`
	PreferModeOverride   bool                 `yaml:"preferModeOverride"`
	AllowedOverrideModes []processingModeFile `yaml:"allowedOverrideModes"`
	ProcessingMode       processingModeFile   `yaml:"processingMode"`
	MaxHeaders           *count               `yaml:"maxHeaders"`
	MaxHeadersKB         *count               `yaml:"maxHeadersKB"`
	RouteName            bool                 `yaml:"routeName"`
	MutationRules        struct {
		AllowAllRouting    bool   `yaml:"allowAllRouting"`
		AllowEnvoy         bool   `yaml:"allowEnvoy"`
		DisallowSystem     bool   `yaml:"disallowSystem"`
		DisallowAll        bool   `yaml:"disallowAll"`
		DisallowIsError    bool   `yaml:"disallowIsError"`
		AllowExpression    string `yaml:"allowExpression"`
		DisallowExpression string `yaml:"disallowExpression"`
	} `yaml:"mutationRules"`
}

type processingModeFile struct {
	RequestHeaders   HeaderMode `yaml:"requestHeaders"`
	RequestBody      BodyMode   `yaml:"requestBody"`
	RequestTrailers  HeaderMode `yaml:"requestTrailers"`
	ResponseHeaders  HeaderMode `yaml:"responseHeaders"`
	ResponseBody     BodyMode   `yaml:"responseBody"`
	ResponseTrailers HeaderMode `yaml:"responseTrailers"`
}

func (f processingModeFile) mode() ProcessingMode {
	return ProcessingMode{
		RequestHeaders: f.RequestHeaders, ResponseHeaders: f.ResponseHeaders,
		RequestTrailers: f.RequestTrailers, ResponseTrailers: f.ResponseTrailers,
		RequestBody: f.RequestBody, ResponseBody: f.ResponseBody,
	}
}

// UnmarshalNode reads default, send or skip.
func (m *HeaderMode) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, m, "a mode for headers or trailers", []string{"default", "send", "skip"},
		[]HeaderMode{HeaderModeDefault, HeaderModeSend, HeaderModeSkip})
}

// UnmarshalNode reads the mode's name in Envoy, in lower case.
func (m *BodyMode) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, m, "a body mode", []string{"none", "streamed", "buffered", "buffered_partial", "full_duplex_streamed"},
		[]BodyMode{BodyModeNone, BodyModeStreamed, BodyModeBuffered, BodyModeBufferedPartial, BodyModeFullDuplexStreamed})
}

// UnmarshalNode reads exit or wait.
func (o *OnInvalidStart) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, o, "what to do about an invalid start", []string{"exit", "wait"},
		[]OnInvalidStart{ExitOnInvalidStart, WaitOnInvalidStart})
}

type logLevel slog.Level

func (l *logLevel) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, l, "a log level", []string{"debug", "info", "warn", "error"},
		[]logLevel{logLevel(slog.LevelDebug), logLevel(slog.LevelInfo), logLevel(slog.LevelWarn), logLevel(slog.LevelError)})
}

type detail worker.Detail

func (d *detail) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, d, "a level of detail", []string{"step", "chain", "route"},
		[]detail{detail(worker.StepDetail), detail(worker.ChainDetail), detail(worker.RouteDetail)})
}

type logFormat struct{ text bool }

func (f *logFormat) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, f, "a log format", []string{"json", "text"}, []logFormat{{}, {text: true}})
}

// engineDecoder turns the file's shape into an Engine and finds what the shape
// cannot tell.
type engineDecoder struct {
	dir    string
	engine Engine
	found  strictyaml.Diagnostics
}

func (d *engineDecoder) file(root strictyaml.Node, f engineFile) {
	e := &d.engine
	if f.Listeners != nil {
		d.listeners(root.At("listeners"), *f.Listeners)
	}
	setIf(&e.Admin, f.Admin.Address)
	e.Pprof = f.Admin.Pprof
	d.source(root.At("source"), f)
	if f.Route != nil {
		d.route(root.At("route"), *f.Route)
	}
	setIf(&e.Limits.Body, (*int64)(f.Limits.Body))
	setIf(&e.Limits.Memory, (*int64)(f.Limits.Memory))
	if m := e.Limits.Memory; m > 0 && m < e.Limits.Body {
		d.found.Add(root.At("limits", "memory").Problem(fmt.Sprintf("a body of limits.body, %d bytes, would not fit", e.Limits.Body),
			"write at least that, and as many times more as there are to be such bodies at the same time"))
	}
	setIf(&e.Limits.ConcurrentStreams, f.Limits.ConcurrentStreams)
	setIf(&e.Connections.MaxAge, (*time.Duration)(f.Connections.MaxAge))
	setIf(&e.Connections.MaxAgeGrace, (*time.Duration)(f.Connections.MaxAgeGrace))
	setIf(&e.Drain.Delay, (*time.Duration)(f.Drain.Delay))
	setIf(&e.Drain.Deadline, (*time.Duration)(f.Drain.Deadline))
	d.filter(root.At("filter"), f.Filter)
	d.backends(root.At("backends"), f.Backends)

	logs := &e.Telemetry.Logs
	logs.Level, logs.JSON = slog.Level(f.Telemetry.Logs.Level), !f.Telemetry.Logs.Format.text
	refusals := f.Telemetry.Logs.Refusals
	setIf(&logs.Refusals.Enabled, refusals.Enabled)
	setIf(&logs.Refusals.PerReason, (*int)(refusals.PerReason))
	setIf(&logs.Refusals.PerSecond, (*int)(refusals.PerSecond))
	e.Telemetry.Metrics.Detail = worker.Detail(f.Telemetry.Metrics.Detail)
	tracing, at := f.Telemetry.Tracing, root.At("telemetry", "tracing")
	e.Telemetry.Tracing.Endpoint, e.Telemetry.Tracing.Insecure = tracing.Endpoint, tracing.Insecure
	setIf(&e.Telemetry.Tracing.SampleRatio, tracing.SampleRatio)
	if r := e.Telemetry.Tracing.SampleRatio; r < 0 || r > 1 {
		d.found.Add(at.At("sampleRatio").Problem("not a ratio", "write a number from 0 to 1"))
	}
	if _, _, err := net.SplitHostPort(tracing.Endpoint); tracing.Endpoint != "" && err != nil {
		d.found.Add(at.At("endpoint").Problem("not host:port", "write the address of an OTLP collector, such as 127.0.0.1:4317"))
	}
}

func (d *engineDecoder) source(n strictyaml.Node, f engineFile) {
	e := &d.engine
	e.Chains = d.path(f.Source.Path)
	path, xds := n.At("path").Kind() != strictyaml.Missing, n.At("xds").Kind() != strictyaml.Missing
	switch {
	case n.Kind() != strictyaml.Mapping:
	case path == xds:
		d.found.Add(n.Problem("chains and routes come from one place", "give either path or xds"))
	case path && f.Source.Path == "":
		d.emptyText(n.At("path"))
	}
	if f.Source.XDS != nil {
		e.OnInvalidStart = WaitOnInvalidStart
		d.xds(n.At("xds"), *f.Source.XDS)
	}
	setIf(&e.OnInvalidStart, f.Source.OnInvalidStart)
}

func (d *engineDecoder) listeners(at strictyaml.Node, files []listenerFile) {
	if len(files) == 0 {
		d.found.Add(at.Problem("no listener", "leave the field out for 127.0.0.1:9001, or name one"))
	}
	seen := map[Address]bool{}
	listeners := make([]Listener, 0, len(files))
	for i, f := range files {
		n := at.At(i)
		l := Listener{Address: f.Address, Peers: Peers{UIDs: f.Peers.UIDs, GIDs: f.Peers.GIDs}}
		if !strings.HasSuffix(f.Address.Address, ":0") && f.Address.Address != "" && seen[f.Address] {
			d.found.Add(n.At("address").Problem("listened on twice", "keep one of the two"))
		}
		seen[f.Address] = true
		if f.Address.Network == unixNetwork {
			l.Mode = 0o660
			setIf(&l.Mode, (*fs.FileMode)(f.Mode))
		} else {
			d.onlyUnix(n.At("mode"))
			d.onlyUnix(n.At("peers"))
		}
		if f.TLS != nil {
			l.TLS = &TLS{
				Certificate: d.path(f.TLS.Certificate), Key: d.path(f.TLS.Key),
				ClientCA: d.path(f.TLS.ClientCA), AllowedSANs: f.TLS.AllowedSANs,
			}
			d.tls(n.At("tls"), l)
		}
		if f.TLS == nil && f.Address.Network == tcpNetwork && !f.Address.Local() && !f.Insecure {
			d.found.Add(n.Problem("a plaintext listener that other machines can reach",
				"set tls, or insecure: true where the network is protected by other means"))
		}
		listeners = append(listeners, l)
	}
	d.engine.Listeners = listeners
}

func (d *engineDecoder) onlyUnix(n strictyaml.Node) {
	if n.Kind() != strictyaml.Missing {
		d.found.Add(n.KeyProblem("only a Unix socket has this", "leave it out, or give an address that begins with unix:"))
	}
}

func (d *engineDecoder) tls(n strictyaml.Node, l Listener) {
	for _, name := range []string{"certificate", "key", "clientCA"} {
		if at := n.At(name); at.Kind() == strictyaml.String && at.Text() == "" {
			d.emptyText(at)
		}
	}
	if allowed := n.At("allowedSANs"); allowed.Kind() == strictyaml.List {
		if l.TLS.ClientCA == "" {
			d.found.Add(allowed.KeyProblem("client certificates are not asked for", "set clientCA too"))
		}
		if len(l.TLS.AllowedSANs) == 0 {
			d.found.Add(allowed.Problem("an empty list would allow every client", "name who may connect, or leave the field out"))
		}
	}
	for i, san := range l.TLS.AllowedSANs {
		if !validSAN(san) {
			d.found.Add(n.At("allowedSANs", i).Problem("neither a URI nor a DNS name",
				"write a name such as spiffe://example.org/envoy or envoy.example.org, without wildcards"))
		}
	}
}

var dnsName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)

func validSAN(san string) bool {
	if strings.Contains(san, "://") {
		u, err := url.Parse(san)
		return err == nil && u.Host != "" && u.User == nil && !strings.Contains(san, "*")
	}
	return dnsName.MatchString(san)
}

var metadataKey = regexp.MustCompile(`^[a-z0-9_.-]+$`)

func (d *engineDecoder) route(n strictyaml.Node, f routeSourceFile) {
	given := 0
	for range n.Fields {
		given++
	}
	if given != 1 {
		d.found.Add(n.Problem("the route's name comes from one place", "give one of attribute, streamMetadata and routeMetadata"))
	}
	var from RouteSource
	switch {
	case f.RouteMetadata != nil:
		for _, name := range []string{"namespace", "key"} {
			if at := n.At("routeMetadata", name); strings.ContainsAny(at.Text(), `"\`) || at.Text() == "" {
				d.found.Add(at.Problem("not a metadata key", "write one that is not empty and has no quotes or backslashes"))
			}
		}
		from.Attribute = MetadataAttribute(f.RouteMetadata.Namespace, f.RouteMetadata.Key)
	case n.At("streamMetadata").Kind() != strictyaml.Missing:
		from.StreamMetadata = f.StreamMetadata
		if !metadataKey.MatchString(f.StreamMetadata) || strings.HasSuffix(f.StreamMetadata, "-bin") || f.StreamMetadata == "host" {
			d.found.Add(n.At("streamMetadata").Problem("not a key of gRPC metadata",
				"write lower case letters, digits, -, _ and . such as x-route-name, not ending in -bin"))
		}
	default:
		from.Attribute = f.Attribute
		if at := n.At("attribute"); at.Kind() == strictyaml.String && f.Attribute == "" {
			d.emptyText(at)
		}
	}
	d.engine.Route = from
}

func (d *engineDecoder) filter(n strictyaml.Node, f filterFile) {
	e := &d.engine.Filter
	setIf(&e.MessageTimeout, (*time.Duration)(f.MessageTimeout))
	e.AllowModeOverride, e.PreferModeOverride = f.AllowModeOverride, f.PreferModeOverride
	for _, mode := range f.AllowedOverrideModes {
		e.AllowedOverrideModes = append(e.AllowedOverrideModes, mode.mode())
	}
	e.ProcessingMode = f.ProcessingMode.mode()
	setIf(&e.MaxHeaders, (*int)(f.MaxHeaders))
	setIf(&e.MaxHeadersKB, (*int)(f.MaxHeadersKB))
	e.RouteName = f.RouteName
	rules := f.MutationRules
	e.MutationRules = MutationRules{
		AllowAllRouting: rules.AllowAllRouting, AllowEnvoy: rules.AllowEnvoy,
		DisallowSystem: rules.DisallowSystem, DisallowAll: rules.DisallowAll, DisallowIsError: rules.DisallowIsError,
		AllowExpression: rules.AllowExpression, DisallowExpression: rules.DisallowExpression,
	}
	for _, name := range []string{"allowExpression", "disallowExpression"} {
		at := n.At("mutationRules", name)
		if _, err := regexp.Compile(at.Text()); err != nil {
			d.found.Add(at.Problem("not a regular expression (RE2)", "write one as Envoy takes it"))
		}
	}
}

func (d *engineDecoder) emptyText(n strictyaml.Node) {
	if n.Kind() == strictyaml.String {
		d.found.Add(n.Problem("is empty", "give it a value"))
	}
}

// path makes a path of the file absolute; an empty one stays empty.
func (d *engineDecoder) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(d.dir, p)
}

func setIf[T any](into *T, from *T) {
	if from != nil {
		*into = *from
	}
}
