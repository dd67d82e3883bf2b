package trial

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"

	"policyengine.dev/runtime/inmemory"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/strictyaml"
)

// File is a request, in YAML or JSON, and the response that the upstream gives to it.
type File struct {
	// Route is the name of the route that Envoy would choose.
	Route string `yaml:"route"`
	// Method is GET by default, Scheme https, Authority example.com, and Path, which
	// includes the query, "/".
	Method    string `yaml:"method"`
	Scheme    string `yaml:"scheme"`
	Authority string `yaml:"authority"`
	Path      string `yaml:"path"`
	// Headers and Trailers have a value for each name, or a list of values.
	Headers  Fields `yaml:"headers"`
	Body     Body   `yaml:"body"`
	Trailers Fields `yaml:"trailers"`
	// Attributes are Envoy's attributes of the request, such as source.address, by
	// their flat names.
	Attributes Attributes `yaml:"attributes"`
	// Response is what the upstream answers; nil ends the exchange with the request.
	Response *FileResponse `yaml:"response"`
}

// FileResponse is the response of the upstream.
type FileResponse struct {
	// Status is 200 by default.
	Status   int    `yaml:"status"`
	Headers  Fields `yaml:"headers"`
	Body     Body   `yaml:"body"`
	Trailers Fields `yaml:"trailers"`
}

// MaxFile bounds a request file, in bytes.
const MaxFile = 16 << 20

// Load reads a request file.
func Load(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	if info.Size() > MaxFile {
		return nil, fmt.Errorf("reading the request: %s has %d bytes; the limit is %d", path, info.Size(), MaxFile)
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	return Parse(path, src)
}

// Parse reads the content of a request file. The error has every problem, each with its
// position.
func Parse(name string, src []byte) (*File, error) {
	root, err := strictyaml.Parse(name, src)
	if err != nil {
		return nil, err
	}
	f := &File{Method: http.MethodGet, Scheme: "https", Authority: "example.com", Path: "/"}
	var found strictyaml.Diagnostics
	found.AddError(root, root.Decode(f))
	if f.Route == "" {
		found.Add(root.Problem("route is missing", "the name of the route in chains and routes, such as charge"))
	}
	if r := f.Response; r != nil {
		if r.Status == 0 {
			r.Status = http.StatusOK
		}
		if r.Status < 200 || r.Status > 599 {
			found.Add(root.At("response", "status").Problem("not the status of a response", "200 to 599"))
		}
	}
	return f, found.Err()
}

// request is the file as inmemory takes it.
func (f *File) request() inmemory.Request {
	return inmemory.Request{
		Route: f.Route, Method: f.Method, Scheme: f.Scheme, Authority: f.Authority, Path: f.Path,
		Headers: f.Headers, Body: f.Body, Trailers: f.Trailers, Attributes: f.Attributes,
	}
}

// upstream is the upstream that the file describes.
func (f *File) upstream(*inmemory.Request) *inmemory.Response {
	r := f.Response
	if r == nil {
		return nil
	}
	return &inmemory.Response{Status: r.Status, Headers: r.Headers, Body: r.Body, Trailers: r.Trailers}
}

// Fields are headers or trailers, in the order of the file.
type Fields []exchange.Field

// UnmarshalNode implements strictyaml.Unmarshaler.
func (f *Fields) UnmarshalNode(n strictyaml.Node) error {
	if n.Kind() != strictyaml.Mapping {
		return n.Problem("not a mapping", "a value, or a list of values, for each name")
	}
	var found strictyaml.Diagnostics
	add := func(name string, value strictyaml.Node) {
		if value.Kind() != strictyaml.String {
			found.Add(value.Problem("not a string", "a string, in quotes if it looks like a number, or a list of strings"))
			return
		}
		*f = append(*f, exchange.Field{Name: exchange.Lower(name), Value: value.Text()})
	}
	for name, value := range n.Fields {
		if len(name) == 0 || name[0] == ':' {
			found.Add(value.KeyProblem("not the name of a header", "method, scheme, authority and path are fields of the request"))
			continue
		}
		if value.Kind() != strictyaml.List {
			add(name, value)
			continue
		}
		for _, item := range value.Items {
			add(name, item)
		}
	}
	return found.Err()
}

// Body has the pieces of a body: one text, a list of texts, or {base64: text}.
type Body [][]byte

// UnmarshalNode implements strictyaml.Unmarshaler.
func (b *Body) UnmarshalNode(n strictyaml.Node) error {
	switch n.Kind() {
	case strictyaml.String:
		*b = Body{[]byte(n.Text())}
		return nil
	case strictyaml.Mapping:
		var encoded struct {
			Base64 string `yaml:"base64"`
		}
		if err := n.Decode(&encoded); err != nil {
			return err
		}
		data, err := base64.StdEncoding.DecodeString(encoded.Base64)
		if err != nil {
			return n.At("base64").Problem("not base64", "standard base64 with padding (RFC 4648, section 4)")
		}
		*b = Body{data}
		return nil
	}
	if n.Kind() != strictyaml.List {
		return n.Problem("not a body", "a string, a list of strings, or {base64: ...}")
	}
	var found strictyaml.Diagnostics
	for _, item := range n.Items {
		if item.Kind() != strictyaml.String {
			found.Add(item.Problem("not a string", "a string for each piece of the body"))
			continue
		}
		*b = append(*b, []byte(item.Text()))
	}
	return found.Err()
}
