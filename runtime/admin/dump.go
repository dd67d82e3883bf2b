package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/strictyaml"
)

// The types of /config_dump. Fields are added, never renamed.
type (
	// Dump is what /config_dump shows. No value of it is secret.
	Dump struct {
		Build    Build         `json:"build"`
		Ready    bool          `json:"ready"`
		Reason   string        `json:"reason"`
		Config   *ConfigDump   `json:"config,omitempty"`
		Rejected *RejectedDump `json:"rejected,omitempty"`
		// Source is the control plane that chains and routes come from, if they do.
		Source *SourceDump `json:"source,omitempty"`
		// Policies are the versions that are compiled in.
		Policies []PolicyDump `json:"policies"`
		// Filters are the filters of Envoy that do not do what is said of them.
		// Chains that depend on it are refused there.
		Filters []FilterDump `json:"filters,omitempty"`
	}
	// FilterDump is a filter that does not do what is said of it, as it is known
	// over one connection. It is no longer told when that is closed.
	FilterDump struct {
		// Stamp is what the filter carries, empty where it carries none, and
		// Connection Envoy's address.
		Stamp      string    `json:"stamp"`
		Connection string    `json:"connection"`
		Since      time.Time `json:"since"`
		// Route is the route of the request that showed it.
		Route   string `json:"route"`
		Problem string `json:"problem"`
		Remedy  string `json:"remedy"`
	}
	// ConfigDump is the configuration in force.
	ConfigDump struct {
		Version  string        `json:"version"`
		Loaded   time.Time     `json:"loaded,omitzero"`
		Warnings []ProblemDump `json:"warnings,omitempty"`
		Chains   []ChainDump   `json:"chains"`
		// Routes gives each route's chain.
		Routes map[string]string `json:"routes"`
		// DeniedRoutes are routes of a control plane that are denied, since it has sent
		// no good chain for them.
		DeniedRoutes   []string `json:"deniedRoutes,omitempty"`
		OnUnknownRoute string   `json:"onUnknownRoute"`
	}
	// RejectedDump is a newer configuration that was refused.
	RejectedDump struct {
		Version  string        `json:"version"`
		At       time.Time     `json:"at"`
		Problems []ProblemDump `json:"problems"`
	}
	// ProblemDump is one thing that is wrong.
	ProblemDump struct {
		// File, Line and Column are there where it is known which file it is in.
		File    string `json:"file,omitempty"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		Path    string `json:"path,omitempty"`
		Message string `json:"message"`
		Remedy  string `json:"remedy,omitempty"`
	}
	// ChainDump is one chain.
	ChainDump struct {
		Name string `json:"name"`
		// Phases are those that the chain asks the proxy for.
		Phases []string `json:"phases"`
		// HoldsRequestChunks and HoldsResponseChunks say that pieces of a body
		// are held back, DecodesRequestBody and DecodesResponseBody that plain
		// bytes are wanted of it.
		HoldsRequestChunks  bool `json:"holdsRequestChunks,omitempty"`
		HoldsResponseChunks bool `json:"holdsResponseChunks,omitempty"`
		// ReadsRequestChunks and ReadsResponseChunks say that the policies of pieces only
		// read them, so that the body keeps its length.
		ReadsRequestChunks  bool `json:"readsRequestChunks,omitempty"`
		ReadsResponseChunks bool `json:"readsResponseChunks,omitempty"`
		DecodesRequestBody  bool `json:"decodesRequestBody,omitempty"`
		DecodesResponseBody bool `json:"decodesResponseBody,omitempty"`
		// BodyLimit bounds a whole body in bytes; 0 leaves it to the engine.
		BodyLimit int64 `json:"bodyLimit,omitempty"`
		// RequestBody and ResponseBody are "never" where policies that need that
		// body are refused.
		RequestBody  string `json:"requestBody,omitempty"`
		ResponseBody string `json:"responseBody,omitempty"`
		// Reroute says that a route is chosen anew when method, path, authority
		// or one of RerouteHeaders has changed.
		Reroute        bool     `json:"reroute,omitempty"`
		RerouteHeaders []string `json:"rerouteHeaders,omitempty"`
		// RequestAttributes are the proxy's attributes that conditions and
		// policies read and that come with the request, ResponseAttributes
		// those that come with the response. Both are sorted.
		RequestAttributes  []string `json:"requestAttributes,omitempty"`
		ResponseAttributes []string `json:"responseAttributes,omitempty"`
		// OwnedHeaders are the request headers that policies own: a client's own are
		// removed. Those of steps that are not enabled are among them. Sorted.
		OwnedHeaders []string   `json:"ownedHeaders,omitempty"`
		Steps        []StepDump `json:"steps"`
		// Disabled are the ids of steps with enabled: false, which do not run.
		Disabled []string `json:"disabled,omitempty"`
	}
	// StepDump is one step of a chain.
	StepDump struct {
		ID         string          `json:"id"`
		Policy     string          `json:"policy"`
		Version    string          `json:"version"`
		Mode       string          `json:"mode"`
		OnError    string          `json:"onError"`
		When       string          `json:"when,omitempty"`
		Timeout    string          `json:"timeout"`
		OnReject   bool            `json:"onReject,omitempty"`
		Required   bool            `json:"required,omitempty"`
		Skippable  bool            `json:"skippable,omitempty"`
		SkipsSteps bool            `json:"skipsSteps,omitempty"`
		Phases     []string        `json:"phases"`
		Params     json.RawMessage `json:"params"`
		Started    bool            `json:"started"`
		StartError string          `json:"startError,omitempty"`
	}
	// PolicyDump is one policy version that is compiled in.
	PolicyDump struct {
		Name        string   `json:"name"`
		Version     string   `json:"version"`
		Description string   `json:"description"`
		Phases      []string `json:"phases"`
		Deprecated  string   `json:"deprecated,omitempty"`
	}
)

// collect returns everything of the dump but the configuration in force, and that with its warnings; nil where there is
// none. Release it.
func (o *Options) collect() (Dump, *worker.Snapshot, worker.Problems) {
	status, reason := o.readiness()
	st := o.Worker.Status()
	d := Dump{Build: o.Version.Build, Ready: status == http.StatusOK, Reason: reason, Policies: Policies(o.Worker.Registry())}
	if st.Err != nil {
		d.Rejected = &RejectedDump{Version: st.Rejected, At: st.RejectedAt, Problems: Problems(st.Err)}
	}
	d.Source = o.source()
	if o.Filters != nil {
		d.Filters = o.Filters()
	}
	return d, o.Worker.Acquire(), st.Warnings
}

// whole returns everything of the dump.
func (o *Options) whole() Dump {
	d, s, warnings := o.collect()
	if s != nil {
		defer s.Release()
		d.Config = configDump(s, warnings)
	}
	return d
}

// Preview is the dump of an engine that would run on the snapshot, which is not in
// force.
func Preview(build Build, registry *worker.Registry, s *worker.Snapshot, warnings worker.Problems) Dump {
	return Dump{Build: build, Reason: "checked, not in force", Policies: Policies(registry), Config: configDump(s, warnings)}
}

// Policies lists the policy versions of a registry, sorted by name and version. It is not
// nil.
func Policies(r *worker.Registry) []PolicyDump {
	all := []PolicyDump{}
	for v := range r.Versions {
		all = append(all, PolicyDump{
			Name: v.Name, Version: v.Version, Description: v.Definition.Description,
			Phases: names(v.Phases().String()), Deprecated: v.Definition.Deprecated,
		})
	}
	return all
}

func configDump(s *worker.Snapshot, warnings worker.Problems) *ConfigDump {
	c := configSummary(s, warnings)
	for _, chain := range s.Chains() {
		c.Chains = append(c.Chains, DumpChain(chain))
	}
	c.Routes = make(map[string]string, s.RouteCount())
	for route, chain := range s.Routes {
		c.Routes[route] = chain.Name()
	}
	return c
}

// configSummary is what there is of a configuration besides its chains and routes.
func configSummary(s *worker.Snapshot, warnings worker.Problems) *ConfigDump {
	c := &ConfigDump{Version: s.Version(), Loaded: s.Loaded(), OnUnknownRoute: "deny"}
	if s.UnknownRoutes() == worker.ContinueUnknownRoute {
		c.OnUnknownRoute = "continue"
	}
	if len(warnings) > 0 {
		c.Warnings = Problems(warnings)
	}
	c.DeniedRoutes = slices.Sorted(s.DeniedRoutes)
	return c
}

// DumpChain is what /config_dump shows of a chain.
func DumpChain(chain *worker.Chain) ChainDump {
	n := chain.Needs()
	cd := ChainDump{
		Name: chain.Name(), Phases: names(n.Phases.String()),
		HoldsRequestChunks: n.HoldsRequestChunks, HoldsResponseChunks: n.HoldsResponseChunks,
		ReadsRequestChunks:  n.Phases.Has(policy.RequestBodyChunks) && !n.ChangesRequestChunks,
		ReadsResponseChunks: n.Phases.Has(policy.ResponseBodyChunks) && !n.ChangesResponseChunks,
		DecodesRequestBody:  n.DecodeRequestBody, DecodesResponseBody: n.DecodeResponseBody,
		BodyLimit: n.BodyLimit, Reroute: n.Reroute, RerouteHeaders: n.RerouteHeaders, Disabled: chain.Disabled(),
		OwnedHeaders: chain.OwnedHeaders(),
	}
	request, response := chain.NeverBodies()
	if request {
		cd.RequestBody = "never"
	}
	if response {
		cd.ResponseBody = "never"
	}
	cd.RequestAttributes, cd.ResponseAttributes = attributes(chain)
	for step := range chain.Steps {
		sd := StepDump{
			ID: step.ID, Policy: step.Policy, Version: step.Version, Mode: step.Mode.String(), OnError: "deny",
			When: step.Condition, Timeout: step.Timeout.String(), OnReject: step.OnReject, Required: step.Required, Skippable: step.Skippable, SkipsSteps: step.SkipsSteps,
			Phases: names(step.Phases.String()), Params: step.Params, Started: step.Started,
		}
		if step.OnError == worker.ContinueOnError {
			sd.OnError = "continue"
		}
		if step.StartError != nil {
			sd.StartError = step.StartError.Error()
		}
		cd.Steps = append(cd.Steps, sd)
	}
	return cd
}

// attributes returns what the conditions of a chain read of the proxy's attributes,
// by the direction in which it has to be known. A condition is evaluated at its
// policy's first phase. A rejection is shaped in whichever phase it is made, the
// request's headers at the earliest.
func attributes(chain *worker.Chain) (request, response []string) {
	for step := range chain.Steps {
		if step.OnReject || step.Phases.HasRequest() {
			request = append(request, step.Attributes...)
		} else {
			response = append(response, step.Attributes...)
		}
		request = append(request, step.Reads.Request...)
		response = append(response, step.Reads.Response...)
	}
	return sortedSet(request), sortedSet(response)
}

func sortedSet(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// Problems lists what an error of the configuration consists of: strictyaml.Diagnostics,
// worker.Problems, or one problem for any other error.
func Problems(err error) []ProblemDump {
	var out []ProblemDump
	var positioned strictyaml.Diagnostics
	var plain worker.Problems
	switch {
	case errors.As(err, &positioned):
		for _, d := range positioned {
			out = append(out, ProblemDump{File: d.File, Line: d.Line, Column: d.Column, Path: d.Path, Message: d.Problem, Remedy: d.Remedy})
		}
	case errors.As(err, &plain):
		for _, p := range plain {
			d := ProblemDump{File: p.At.Source, Line: p.At.Line, Column: p.At.Column, Path: p.Path, Message: p.Message, Remedy: p.Remedy}
			if p.At.Source != "" {
				d.Path = p.At.Field
			}
			out = append(out, d)
		}
	default:
		out = []ProblemDump{{Message: err.Error()}}
	}
	return out
}

func names(list string) []string {
	if list == "" {
		return []string{}
	}
	return strings.Split(list, ", ")
}
