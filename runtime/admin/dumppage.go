package admin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"sort"

	"policyengine.dev/runtime/worker"
)

// dump writes the dump chain by chain, so that the page takes no memory in proportion to the configuration. It is the
// text of [Dump], indented.
func (o *Options) dump(w http.ResponseWriter, r *http.Request) {
	if query := r.URL.Query(); query.Has("route") && o.Explain != nil {
		o.explain(w, query.Get("route"), query.Get("format"))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	d, s, warnings := o.collect()
	if s != nil {
		defer s.Release()
	}
	out := dumpWriter{out: bufio.NewWriterSize(w, 64<<10)}
	out.object("", []part{
		{name: "build", value: d.Build},
		{name: "ready", value: d.Ready},
		{name: "reason", value: d.Reason},
		{name: "config", absent: s == nil, write: func(indent string) { out.config(indent, s, warnings) }},
		{name: "rejected", value: d.Rejected, absent: d.Rejected == nil},
		{name: "source", value: d.Source, absent: d.Source == nil},
		{name: "policies", value: d.Policies},
		{name: "filters", value: d.Filters, absent: len(d.Filters) == 0},
	})
	out.text("\n")
	if out.err != nil {
		// A part of the page may have been sent. Ending the connection tells the reader that it is not whole.
		o.Logger.Warn("the dump could not be written", slog.String("error", out.err.Error()))
		panic(http.ErrAbortHandler)
	}
	// What fails is the connection, and nobody is left to tell.
	_ = out.out.Flush()
}

// dumpWriter writes JSON as json.MarshalIndent does, in parts.
type dumpWriter struct {
	out *bufio.Writer
	// err is why a value could not be encoded.
	err error
}

// part is a field of an object: a value, or what write writes.
type part struct {
	name   string
	value  any
	absent bool
	write  func(indent string)
}

// step is what one level is indented by.
const step = "  "

func (d *dumpWriter) text(s string) { _, _ = d.out.WriteString(s) }

func (d *dumpWriter) value(indent string, v any) {
	b, err := json.MarshalIndent(v, indent, step)
	if err != nil && d.err == nil {
		d.err = err
	}
	_, _ = d.out.Write(b)
}

func (d *dumpWriter) object(indent string, parts []part) {
	separator := "{\n"
	for _, p := range parts {
		if p.absent {
			continue
		}
		d.text(separator + indent + step)
		separator = ",\n"
		d.value("", p.name)
		d.text(": ")
		if p.write != nil {
			p.write(indent + step)
		} else {
			d.value(indent+step, p.value)
		}
	}
	d.text("\n" + indent + "}")
}

func (d *dumpWriter) config(indent string, s *worker.Snapshot, warnings worker.Problems) {
	c := configSummary(s, warnings)
	d.object(indent, []part{
		{name: "version", value: c.Version},
		{name: "loaded", value: c.Loaded, absent: c.Loaded.IsZero()},
		{name: "warnings", value: c.Warnings, absent: len(c.Warnings) == 0},
		{name: "chains", write: func(indent string) { d.chains(indent, s.Chains()) }},
		{name: "routes", write: func(indent string) { d.routes(indent, s) }},
		{name: "deniedRoutes", value: c.DeniedRoutes, absent: len(c.DeniedRoutes) == 0},
		{name: "onUnknownRoute", value: c.OnUnknownRoute},
	})
}

func (d *dumpWriter) chains(indent string, chains []*worker.Chain) {
	if len(chains) == 0 {
		d.text("null")
		return
	}
	for i, chain := range chains {
		if i == 0 {
			d.text("[\n")
		} else {
			d.text(",\n")
		}
		d.text(indent + step)
		d.value(indent+step, DumpChain(chain))
	}
	d.text("\n" + indent + "]")
}

// routes writes the routes in the order of their names, as encoding/json writes a map.
func (d *dumpWriter) routes(indent string, s *worker.Snapshot) {
	type entry struct{ route, chain string }
	all := make([]entry, 0, s.RouteCount())
	for route, chain := range s.Routes {
		all = append(all, entry{route, chain.Name()})
	}
	if len(all) == 0 {
		d.text("{}")
		return
	}
	sort.Slice(all, func(i, j int) bool { return all[i].route < all[j].route })
	for i, e := range all {
		if i == 0 {
			d.text("{\n")
		} else {
			d.text(",\n")
		}
		d.text(indent + step)
		d.value("", e.route)
		d.text(": ")
		d.value("", e.chain)
	}
	d.text("\n" + indent + "}")
}

// explain says what the engine does with requests on a route.
func (o *Options) explain(w http.ResponseWriter, route, format string) {
	s := o.Worker.Acquire()
	if s == nil {
		text(w, http.StatusServiceUnavailable, "no valid configuration yet\n")
		return
	}
	defer s.Release()
	var b bytes.Buffer
	var err error
	e := o.Explain(s, route)
	switch format {
	case "", "json":
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(&b)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(e)
	case "text":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		err = e.WriteText(&b)
	default:
		text(w, http.StatusBadRequest, "the format is json or text\n")
		return
	}
	if err != nil {
		text(w, http.StatusInternalServerError, "explaining the route: "+err.Error()+"\n")
		return
	}
	_, _ = w.Write(b.Bytes())
}
