package explain

import (
	"fmt"
	"io"
	"strings"

	"policyengine.dev/runtime/admin"
)

// WriteText writes the explanation for a reader.
func (e *Explanation) WriteText(w io.Writer) error {
	var b strings.Builder
	if e.Chain == nil {
		fmt.Fprintf(&b, "route %s: no chain\n  %s\n", e.Route, e.Why)
	} else {
		fmt.Fprintf(&b, "route %s: chain %s\n", e.Route, e.Chain.Name)
		fmt.Fprintf(&b, "  entry %s: %s\n", e.Entry, e.Why)
		for _, o := range e.Others {
			fmt.Fprintf(&b, "  also fits: %s (chain %s): %s\n", o.Entry, o.Chain, o.Why)
		}
		e.writeChain(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (e *Explanation) writeChain(b *strings.Builder) {
	b.WriteString("\nphases\n")
	writePhases(b, e.Phases)
	if len(e.OnReject) > 0 {
		b.WriteString("\nphases of the engine's own answers\n")
		writePhases(b, e.OnReject)
	}
	b.WriteString("\nsteps\n")
	if len(e.Chain.Steps) == 0 {
		b.WriteString("  none: every request passes\n")
	}
	for i := range e.Chain.Steps {
		e.writeStep(b, &e.Chain.Steps[i], &e.Limits.Steps[i])
	}
	for _, id := range e.Chain.Disabled {
		fmt.Fprintf(b, "  %s: enabled is false, it does not run\n", id)
	}
	if len(e.Chain.OwnedHeaders) > 0 {
		fmt.Fprintf(b, "  removed from requests before the first step, since policies own them: %s\n", strings.Join(e.Chain.OwnedHeaders, ", "))
	}
	e.writeEnvoy(b)
	l := e.Limits
	fmt.Fprintf(b, "\nlimits\n  a whole body: %d bytes (%s)\n", l.BodyLimit, l.BodyLimitFrom)
	if l.Memory > 0 {
		fmt.Fprintf(b, "  all bodies in flight: %d bytes\n", l.Memory)
	}
	fmt.Fprintf(b, "  the steps at each message: %s, which is 90%% of the filter's message_timeout of %s, unless the filter's stamp says another\n", l.Budget, l.MessageTimeout)
}

func writePhases(b *strings.Builder, phases []Phase) {
	if len(phases) == 0 {
		b.WriteString("  none\n")
	}
	for _, p := range phases {
		fmt.Fprintf(b, "  %s: %s\n", p.Phase, strings.Join(p.Steps, ", "))
	}
}

func (e *Explanation) writeStep(b *strings.Builder, s *admin.StepDump, l *StepLimit) {
	fmt.Fprintf(b, "  %s (%s@%s): mode %s, onError %s, timeout %s", s.ID, s.Policy, s.Version, s.Mode, s.OnError, l.Timeout)
	if l.Half {
		b.WriteString(" and at most half of what is left")
	}
	for _, flag := range []struct {
		name string
		is   bool
	}{{"required", s.Required}, {"skippable", s.Skippable}, {"may skip later steps", s.SkipsSteps}, {"in onReject", s.OnReject}} {
		if flag.is {
			b.WriteString(", " + flag.name)
		}
	}
	b.WriteString("\n")
	if s.When != "" {
		fmt.Fprintf(b, "    when: %s\n", strings.Join(strings.Fields(s.When), " "))
	}
	if params := string(s.Params); params != "" && params != "{}" {
		fmt.Fprintf(b, "    params: %s\n", params)
	}
}

func (e *Explanation) writeEnvoy(b *strings.Builder) {
	v := e.Envoy
	b.WriteString("\nEnvoy has to show\n")
	fmt.Fprintf(b, "  of the request: headers %s, body %s, trailers %s\n", v.RequestHeaders, v.RequestBody, v.RequestTrailers)
	fmt.Fprintf(b, "  of the response: headers %s, body %s, trailers %s\n", v.ResponseHeaders, v.ResponseBody, v.ResponseTrailers)
	for _, list := range []struct {
		name  string
		names []string
	}{{"request", e.Chain.RequestAttributes}, {"response", e.Chain.ResponseAttributes}} {
		if len(list.names) > 0 {
			fmt.Fprintf(b, "  attributes with the %s: %s\n", list.name, strings.Join(list.names, ", "))
		}
	}
	fmt.Fprintf(b, "  the engine sends a mode override %s\n", v.ModeOverride)
	if e.Chain.Reroute {
		fmt.Fprintf(b, "  Envoy chooses the route again after a change of the method, the path, the authority%s\n", withHeaders(e.Chain.RerouteHeaders))
	}
}

func withHeaders(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " or of " + strings.Join(names, ", ")
}
