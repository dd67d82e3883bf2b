package cases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"policyengine.dev/envoy_test/harness"
)

// maxShown is how much of a body a message shows.
const maxShown = 400

// differences are what is not as it was expected, one a line.
type differences []string

func (d *differences) add(format string, args ...any) { *d = append(*d, fmt.Sprintf(format, args...)) }

func (d *differences) text(what, got, want string) {
	if want != "" && got != want {
		d.add("%s is %q, want %q", what, got, want)
	}
}

func (d *differences) headers(what string, got http.Header, want Headers) {
	for _, h := range want {
		values := got[textproto.CanonicalMIMEHeaderKey(h.Name)]
		if !slices.Equal(values, h.Values) {
			d.add("%s %s is %q, want %q", what, h.Name, values, h.Values)
		}
	}
}

func (d *differences) body(what string, got []byte, want *string, size *int) {
	if want != nil && string(got) != *want {
		d.add("%s is %s, want %q", what, shown(got), *want)
	}
	if size != nil && len(got) != *size {
		d.add("%s has %d bytes, want %d", what, len(got), *size)
	}
}

func (d *differences) decoded(what string, header http.Header, got []byte, want *string) {
	if want == nil {
		return
	}
	plain, err := decode(header.Get("Content-Encoding"), got)
	if err != nil {
		d.add("%s is %s, which does not decode: %v", what, shown(got), err)
		return
	}
	d.body(what+", decoded,", plain, want, nil)
}

func shown(b []byte) string {
	if len(b) > maxShown {
		return fmt.Sprintf("%q (%d bytes)", b[:maxShown], len(b))
	}
	return strconv.Quote(string(b))
}

// others takes those out of what the clients got that come out otherwise.
func (w Want) others(d *differences, got []*seen) []*seen {
	for _, status := range w.Others {
		at := slices.IndexFunc(got, func(s *seen) bool { return s.status == status })
		if at < 0 {
			d.add("none of the requests comes to %d", status)
			continue
		}
		got = slices.Delete(got, at, at+1)
	}
	return got
}

func (w Want) client(d *differences, got *seen) {
	if got.status != w.Status {
		d.add("the status is %d, want %d; the body is %s", got.status, w.Status, shown(got.body))
	}
	d.headers("the response's header", got.header, w.Headers)
	d.body("the response's body", got.body, w.Body, w.BodySize)
	if w.Contains != "" && !bytes.Contains(got.body, []byte(w.Contains)) {
		d.add("the response's body is %s, want %q in it", shown(got.body), w.Contains)
	}
	d.decoded("the response's body", got.header, got.body, w.Decoded)
	d.headers("the response's trailer", got.trailer, w.Trailers)
	if w.Informational != nil && !slices.Equal(got.informational, w.Informational) {
		d.add("the responses before the response are %v, want %v", got.informational, w.Informational)
	}
	if w.Broken != (got.broken != nil) {
		d.add("the response breaks off: %v, want %t", got.broken, w.Broken)
	}
	if w.Reason != "" {
		w.problem(d, got)
	}
}

// problem looks at problem details (RFC 9457).
func (w Want) problem(d *differences, got *seen) {
	d.text("the content type", got.header.Get("content-type"), "application/problem+json")
	var details struct {
		Status int
		Reason string
	}
	if err := json.Unmarshal(got.body, &details); err != nil {
		d.add("the response's body is not problem details: %s", shown(got.body))
		return
	}
	d.text("the problem's reason", details.Reason, w.Reason)
	// What has reached the upstream must not be repeated.
	again := (got.status == http.StatusServiceUnavailable || got.status == http.StatusTooManyRequests) && !(w.Reached.Given && !w.Reached.Nothing)
	if again != (got.header.Get("retry-after") != "") {
		d.add("the client is to be told when to try again: %t; retry-after is %q", again, got.header.Get("retry-after"))
	}
	if details.Status != got.status {
		d.add("the problem's status is %d, the response's %d", details.Status, got.status)
	}
}

func (w Want) upstream(d *differences, got []harness.Received, times int) {
	r := w.Reached
	switch {
	case !r.Given:
		return
	case r.Nothing:
		for _, g := range got {
			d.add("the upstream was reached: %s %s", g.Method, g.Target)
		}
		return
	case len(got) != times:
		d.add("the upstream saw %d requests, want %d", len(got), times)
	}
	for _, g := range got {
		r.compare(d, g)
	}
}

func (r Reached) compare(d *differences, g harness.Received) {
	d.text("the upstream's method", g.Method, r.Method)
	d.text("the upstream's target", g.Target, r.Target)
	d.text("the upstream's host", g.Host, r.Host)
	d.headers("the upstream's header", g.Header, r.Headers)
	d.body("the upstream's body", g.Body, r.Body, r.BodySize)
	d.decoded("the upstream's body", g.Header, g.Body, r.Decoded)
	d.headers("the upstream's trailer", g.Trailer, r.Trailers)
	if g.Broken != r.Broken {
		d.add("the upstream's request breaks off: %t, want %t", g.Broken, r.Broken)
	}
}

func (w Want) log(d *differences, got harness.AccessLogEntry) {
	d.text("the response code details", got.Details, w.Details)
	if w.Reason != "" && w.Details == "" && !strings.HasSuffix(got.Details, "."+w.Reason) {
		d.add("the response code details are %q, want some that end in .%s", got.Details, w.Reason)
	}
	d.text("the response flags", got.Flags, w.Flags)
}

// counters compares what Envoy counted: the guarded ones, and those that are named.
func (w Want) counters(d *differences, rise harness.Counters) {
	names := harness.Guarded()
	for name := range w.Counters {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if rise[name] != w.Counters[name] {
			d.add("Envoy's %s rose by %d, want %d", name, rise[name], w.Counters[name])
		}
	}
}

func (w Want) stats(d *differences, rise harness.Counters) {
	for _, name := range slices.Sorted(maps.Keys(w.Stats)) {
		if rise[name] != w.Stats[name] {
			d.add("Envoy's %s rose by %d, want %d", name, rise[name], w.Stats[name])
		}
	}
}

func (w Want) admin(d *differences, get func(page string) ([]byte, error)) error {
	for _, page := range slices.Sorted(maps.Keys(w.Admin)) {
		got, err := get(page)
		if err != nil {
			return err
		}
		if !bytes.Contains(got, []byte(w.Admin[page])) {
			d.add("Envoy's page %s has no %q in it", page, w.Admin[page])
		}
	}
	return nil
}

func (d differences) err() error {
	if len(d) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(d, "\n"))
}
