package trial

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// WriteText writes the report for a reader.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "route %s", r.Route)
	if r.Chain != "" {
		fmt.Fprintf(&b, ", chain %s", r.Chain)
	} else {
		b.WriteString(", no chain")
	}
	b.WriteString("\n")
	if len(r.Steps) > 0 {
		b.WriteString("\nsteps\n")
	}
	for i := range r.Steps {
		r.Steps[i].write(&b, i+1)
	}
	fmt.Fprintf(&b, "\noutcome: %s\n", r.Outcome)
	for _, line := range [][2]string{{"decided by", r.DecidedBy}, {"reason", r.Reason}, {"details", r.Details}, {"cause", r.Cause}} {
		if line[1] != "" {
			fmt.Fprintf(&b, "  %s: %s\n", line[0], line[1])
		}
	}
	if r.Reroute {
		b.WriteString("  Envoy would choose the route again\n")
	}
	for _, key := range slices.Sorted(maps.Keys(r.DynamicMetadata)) {
		fmt.Fprintf(&b, "  dynamic metadata %s: %v\n", key, r.DynamicMetadata[key])
	}
	if m := r.Request; m != nil {
		b.WriteString("\nto the upstream\n")
		fmt.Fprintf(&b, "  %s %s://%s%s\n", m.Method, m.Scheme, m.Authority, m.Path)
		m.write(&b)
	}
	if m := r.Response; m != nil {
		b.WriteString("\nto the client\n")
		fmt.Fprintf(&b, "  %d\n", m.Status)
		m.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Step) write(b *strings.Builder, number int) {
	shadow := ""
	if s.Shadow {
		shadow = ", in shadow"
	}
	fmt.Fprintf(b, "  %d. %s  %s (%s%s): %s  %s µs\n", number, s.Phase, s.ID, s.Policy, shadow, s.Outcome, strconv.FormatFloat(s.Micros, 'f', 0, 64))
	for _, line := range [][2]string{{"when", s.Condition}, {"changes", s.Changes}, {"reason", s.Reason}, {"cause", s.Cause}} {
		if line[1] != "" {
			fmt.Fprintf(b, "     %s: %s\n", line[0], line[1])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.Annotations)) {
		fmt.Fprintf(b, "     noted %s: %s\n", key, s.Annotations[key])
	}
}

func (m *Message) write(b *strings.Builder) {
	fields := func(all []Header) {
		for _, h := range all {
			value := h.Value
			if h.Hidden {
				value = "(hidden; --show-secrets shows it)"
			}
			fmt.Fprintf(b, "  %s: %s\n", h.Name, value)
		}
	}
	fields(m.Headers)
	switch {
	case m.Body != "":
		fmt.Fprintf(b, "\n%s\n", m.Body)
	case len(m.BodyBase64) > 0:
		fmt.Fprintf(b, "\n(%d bytes that are not text)\n", len(m.BodyBase64))
	}
	if len(m.Trailers) > 0 {
		b.WriteString("  trailers\n")
		fields(m.Trailers)
	}
}
