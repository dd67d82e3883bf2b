package controlplane

import (
	"encoding/json"
	"html/template"
	"net/http"
)

// Handler returns the pages: / for people, /status as JSON, and /clusters/CLUSTER/versions.
// They show names, versions and reasons, and no contents. With a token, PUT
// /clusters/CLUSTER/chains/NAME (and routes) changes a resource, and POST
// /clusters/CLUSTER/rollback/VERSION serves an earlier version.
func (p *Plane) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(p.Status()) // what fails here is the connection
	})
	mux.HandleFunc("/clusters/{cluster}/{what}/{name...}", p.change)
	mux.HandleFunc("GET /clusters/{cluster}/versions", func(w http.ResponseWriter, r *http.Request) {
		cluster := r.PathValue("cluster")
		if cluster == "-" {
			cluster = ""
		}
		all, err := p.Versions(cluster)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(all)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = statusPage.Execute(w, p.Status())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

var statusPage = template.Must(template.New("status").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Control plane</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1a1a1a}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{text-align:left;padding:.3rem .7rem;border-bottom:1px solid #ddd;vertical-align:top}
code,pre{font:13px ui-monospace,monospace;white-space:pre-wrap}.bad{color:#a30000}
</style>
<h1>Control plane</h1>
<h2>Served</h2><table><tr><th>cluster<th>version</tr>{{range $cluster, $version := .Versions}}<tr><td>{{or $cluster "(none)"}}<td><code>{{$version}}</code></tr>{{end}}</table>
{{if .Problems}}<h2 class="bad">Not served</h2><table><tr><th>cluster<th>why</tr>{{range $cluster, $why := .Problems}}<tr><td>{{or $cluster "(none)"}}<td><pre>{{$why}}</pre></tr>{{end}}</table>{{end}}
<h2>Engines</h2><table><tr><th>engine<th>cluster<th>address<th>since<th>accepted<th>refused</tr>
{{range .Engines}}<tr><td>{{.ID}}<td>{{or .Cluster "(none)"}}<td>{{.Peer}}<td>{{.Since.Format "2006-01-02 15:04:05 MST"}}
<td>{{range $type, $version := .Accepted}}<code>{{$type}} {{$version}}</code><br>{{end}}<td class="bad">{{range $type, $why := .Refused}}<pre>{{$type}}: {{$why}}</pre>{{end}}</tr>{{end}}</table>
`))
