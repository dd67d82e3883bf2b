package engine

import (
	"os"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/xds"
	"policyengine.dev/runtime/worker"
)

// newXDS returns the client of the control plane that engine.yaml names.
func (e *Engine) newXDS(x config.XDS) *xds.Source {
	return xds.NewSource(xds.Options{
		Servers: x.Servers, Dedicated: x.Dedicated, Incremental: x.Incremental, Node: node(x, e.worker.Registry()),
		Check: e.check, Partial: x.Partial, Exit: e.static.OnInvalidStart == config.ExitOnInvalidStart,
		Wait: x.Wait, Keep: x.Keep, KeepMaxAge: x.KeepMaxAge, MaxMessage: int(x.MaxMessage),
		Limits: xds.Limits{Resources: x.MaxResources, Bytes: int(x.MaxBytes)},
		Logger: e.logger,
	})
}

// check returns what is wrong with a configuration, and changes nothing.
func (e *Engine) check(spec worker.Spec) error {
	_, err := e.worker.Check(spec)
	problems := append(problemsOf(err), checkLimits(e.static, spec)...)
	if len(problems) == 0 {
		return nil
	}
	for i := range problems {
		if at, ok := spec.Positions.Position(problems[i].Path); ok {
			problems[i].At = at
		}
	}
	return problems
}

// schemaVersion names the messages that the engine takes from a control plane.
const schemaVersion = "policyengine.config.v1"

// node is what the engine says of itself to a control plane: its id and cluster and, in
// the metadata, what it is built of.
func node(x config.XDS, registry *worker.Registry) *corev3.Node {
	n := &corev3.Node{Id: x.NodeID, Cluster: x.Cluster, UserAgentName: "policy-engine",
		UserAgentVersionType: &corev3.Node_UserAgentVersion{UserAgentVersion: moduleVersion()}}
	if n.Id == "" {
		// Without a name the control plane cannot tell engines apart, and that is all.
		n.Id, _ = os.Hostname()
	}
	policies := &structpb.ListValue{}
	for v := range registry.Versions {
		policies.Values = append(policies.Values, structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			"name": structpb.NewStringValue(v.Name), "version": structpb.NewStringValue(v.Version),
		}}))
	}
	n.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{
		"schema":   structpb.NewStringValue(schemaVersion),
		"engine":   structpb.NewStringValue(Version()),
		"policies": structpb.NewListValue(policies),
	}}
	return n
}

// controlPlane describes the control plane for the admin pages; nil where there is none.
func (e *Engine) controlPlane() *admin.SourceDump {
	if e.xds == nil {
		return nil
	}
	st := e.xds.Status()
	d := &admin.SourceDump{
		Server: st.Server, Connected: st.Connected, Since: st.Since, Problem: st.Problem, Waiting: st.Waiting,
		Refused: st.Refused, KeepProblem: st.KeepProblem, Versions: map[string]string{},
		Responses: st.Responses, Accepted: st.Accepted, Refusals: st.Refusals, Connects: st.Connects, Failures: st.Failures,
	}
	if k := st.Kept; k != nil {
		d.Kept = &admin.KeptDump{Version: k.Version, Saved: k.Saved, Seconds: int64(max(0, time.Since(k.Saved)) / time.Second)}
	}
	for _, t := range st.Types {
		d.Versions[t.URL] = t.Version
	}
	return d
}
