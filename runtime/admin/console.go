package admin

import (
	"html/template"
	"net/http"
)

// consolePage is for a person in a hurry: is it ready, what is in force, what was
// refused and why. It has no script and loads nothing.
var consolePage = template.Must(template.New("console").Parse(`{{define "problem"}}<tr><td>{{with .File}}{{.}}{{with $.Line}}:{{.}}:{{$.Column}}{{end}} {{end}}<code>{{.Path}}</code><td>{{.Message}}<td>{{.Remedy}}</tr>{{end}}<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Policy engine</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1a1a1a}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{text-align:left;padding:.3rem .7rem;border-bottom:1px solid #ddd;vertical-align:top}
code{font:13px ui-monospace,monospace}.bad{color:#a30000}.good{color:#0a6b0a}
</style>
<h1>Policy engine</h1>
<p><strong class="{{if .Ready}}good{{else}}bad{{end}}">{{.Reason}}</strong>
{{with .Build}} · {{with .Engine}}{{.}}{{else}}{{.Go}}{{end}}{{end}}
{{with .Config}} · configuration <code>{{.Version}}</code>, loaded {{.Loaded.Format "2006-01-02 15:04:05 MST"}}{{end}}
 · <a href="/metrics">metrics</a> · <a href="/config_dump">config dump</a></p>
{{with .Source}}<p>{{.Line}}</p>{{end}}
{{with .Rejected}}<h2 class="bad">Refused: {{.Version}}, {{.At.Format "2006-01-02 15:04:05 MST"}}</h2>
<table><tr><th>where<th>what<th>remedy</tr>{{range .Problems}}{{template "problem" .}}{{end}}</table>{{end}}
{{with .Config}}{{if .Warnings}}<h2>Warnings</h2>
<table><tr><th>where<th>what<th>remedy</tr>{{range .Warnings}}{{template "problem" .}}{{end}}</table>{{end}}
<h2>Routes</h2><table><tr><th>route<th>chain</tr>{{range $route, $chain := .Routes}}<tr><td><code>{{$route}}</code><td>{{$chain}}</tr>{{end}}
<tr><td>any other<td>{{if eq .OnUnknownRoute "continue"}}none: requests pass{{else}}none: requests are denied{{end}}</tr></table>
{{range .Chains}}<h2>Chain {{.Name}}</h2>
<p>Needs of Envoy: {{range $i, $p := .Phases}}{{if $i}}, {{end}}{{$p}}{{else}}nothing{{end}}{{with .BodyLimit}} · bodies of at most {{.}} bytes{{end}}
{{with .RequestBody}} · request body {{.}}{{end}}{{with .ResponseBody}} · response body {{.}}{{end}}
{{if .HoldsRequestChunks}} · holds back request chunks{{end}}{{if .HoldsResponseChunks}} · holds back response chunks{{end}}
{{if .DecodesRequestBody}} · decodes request bodies{{end}}{{if .DecodesResponseBody}} · decodes response bodies{{end}}
{{if .Reroute}} · chooses the route again{{range .RerouteHeaders}} {{.}}{{end}}{{end}}
{{with .RequestAttributes}} · request attributes{{range .}} <code>{{.}}</code>{{end}}{{end}}{{with .ResponseAttributes}} · response attributes{{range .}} <code>{{.}}</code>{{end}}{{end}}
{{with .Disabled}} · disabled: {{range $i, $id := .}}{{if $i}}, {{end}}{{$id}}{{end}}{{end}}</p>
<table><tr><th>policy<th>id<th>phases<th>when<th>mode<th>on error<th>timeout<th>state<th>params</tr>
{{range .Steps}}<tr><td>{{.Policy}} {{.Version}}{{if .OnReject}} (on reject){{end}}<td>{{.ID}}<td>{{range .Phases}}{{.}} {{end}}<td><code>{{.When}}</code><td>{{.Mode}}<td>{{.OnError}}<td>{{.Timeout}}
<td>{{if .Started}}started{{else}}<span class="bad">not started {{.StartError}}</span>{{end}}{{if .Required}} (required){{end}}{{if .Skippable}} (skippable){{end}}{{if .SkipsSteps}} (may skip others){{end}}<td><code>{{printf "%s" .Params}}</code></tr>{{end}}</table>{{end}}{{end}}
<h2>Compiled in</h2><table><tr><th>policy<th>version<th>phases<th>description</tr>
{{range .Policies}}<tr><td>{{.Name}}<td>{{.Version}}<td>{{range .Phases}}{{.}} {{end}}<td>{{.Description}}{{with .Deprecated}} <span class="bad">Deprecated: {{.}}</span>{{end}}</tr>{{end}}</table>
`))

func (o *Options) console(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// What fails here is the connection, and nobody is left to tell.
	_ = consolePage.Execute(w, o.whole())
}
