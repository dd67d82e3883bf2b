package needs_test

import (
	"encoding/json"
	"strings"
	"testing"

	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

const (
	none     = extproc.ProcessingMode_NONE
	streamed = extproc.ProcessingMode_STREAMED
	buffered = extproc.ProcessingMode_BUFFERED
	duplex   = extproc.ProcessingMode_FULL_DUPLEX_STREAMED
)

func dump(chains ...admin.ChainDump) admin.Dump {
	c := &admin.ConfigDump{Chains: chains, Routes: map[string]string{}}
	for _, chain := range chains {
		c.Routes["to-"+chain.Name] = chain.Name
	}
	return admin.Dump{Config: c}
}

// TestSides holds what is shown of a message for the phases that a chain has, which
// is what the kernel asks for.
func TestSides(t *testing.T) {
	for _, tt := range []struct {
		name              string
		chain             admin.ChainDump
		request, response needs.Side
	}{
		{"a chain without policies needs nothing", admin.ChainDump{}, needs.Side{}, needs.Side{}},
		{"headers need no body", admin.ChainDump{Phases: []string{"request_headers", "response_headers"}},
			needs.Side{Headers: true}, needs.Side{Headers: true}},
		{"a whole body may be followed, or replaced, by trailers", admin.ChainDump{Phases: []string{"request_body"}},
			needs.Side{true, buffered, true}, needs.Side{}},
		{"pieces that pass are streamed", admin.ChainDump{Phases: []string{"response_body_chunks"}},
			needs.Side{}, needs.Side{true, streamed, true}},
		{"pieces that are held back take full duplex", admin.ChainDump{Phases: []string{"request_body_chunks"}, HoldsRequestChunks: true},
			needs.Side{true, duplex, true}, needs.Side{}},
		{"what is held back of one direction does not matter to the other",
			admin.ChainDump{Phases: []string{"request_body_chunks"}, HoldsResponseChunks: true, DecodesResponseBody: true},
			needs.Side{true, streamed, true}, needs.Side{}},
		{"compressed pieces cannot be read one by one",
			admin.ChainDump{Phases: []string{"response_body_chunks"}, HoldsResponseChunks: true, DecodesResponseBody: true},
			needs.Side{}, needs.Side{true, buffered, true}},
		{"beside a whole body there are no pieces",
			admin.ChainDump{Phases: []string{"request_body", "request_body_chunks"}, HoldsRequestChunks: true},
			needs.Side{true, buffered, true}, needs.Side{}},
		{"trailers need no body", admin.ChainDump{Phases: []string{"request_trailers", "response_trailers"}},
			needs.Side{true, none, true}, needs.Side{true, none, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := needs.New(config.DefaultEngine(), dump(tt.chain))
			if err != nil {
				t.Fatal(err)
			}
			if c := n.Chains[0]; c.Request != tt.request || c.Response != tt.response {
				t.Errorf("request %+v, response %+v; want %+v, %+v", c.Request, c.Response, tt.request, tt.response)
			}
		})
	}
}

// TestLengthMode proves which routes are buffered for the sake of content-length: those whose pieces
// are only read, by what the engine says of each direction, and no route whose engine does not say.
func TestLengthMode(t *testing.T) {
	for name, tt := range map[string]struct {
		chain             admin.ChainDump
		request, response extproc.ProcessingMode_BodySendMode
	}{
		"of an engine that does not say": {admin.ChainDump{Phases: []string{"request_body_chunks", "response_body_chunks"}}, streamed, streamed},
		"read in requests":               {admin.ChainDump{Phases: []string{"request_body_chunks", "response_body_chunks"}, ReadsRequestChunks: true}, buffered, streamed},
		"read in both":                   {admin.ChainDump{Phases: []string{"request_body_chunks", "response_body_chunks"}, ReadsRequestChunks: true, ReadsResponseChunks: true}, buffered, buffered},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := needs.New(config.DefaultEngine(), dump(tt.chain))
			if err != nil {
				t.Fatal(err)
			}
			if m := n.Chains[0].LengthMode(); m.RequestBodyMode != tt.request || m.ResponseBodyMode != tt.response {
				t.Errorf("the mode is %v", m)
			}
		})
	}
}

func TestBodyLimit(t *testing.T) {
	n, err := needs.New(config.DefaultEngine(), dump(admin.ChainDump{Name: "own", BodyLimit: 5}, admin.ChainDump{Name: "engine"}))
	if err != nil {
		t.Fatal(err)
	}
	ownChain, _ := n.Chain("to-own")
	engineChain, _ := n.Chain("to-engine")
	if own, engine := ownChain.BodyLimit, engineChain.BodyLimit; own != 5 || engine != 10<<20 {
		t.Errorf("limits %d, %d", own, engine)
	}
}

func TestRouteMetadata(t *testing.T) {
	engine := config.DefaultEngine()
	n, err := needs.New(engine, dump())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := n.RouteMetadata(); ok {
		t.Error("the default is taken for metadata")
	}
	engine.Route.Attribute = config.MetadataAttribute("com.example", "api")
	if n, err = needs.New(engine, dump()); err != nil {
		t.Fatal(err)
	}
	if namespace, key, ok := n.RouteMetadata(); !ok || namespace != "com.example" || key != "api" {
		t.Errorf("%q %q %v", namespace, key, ok)
	}
}

// FuzzNew proves that whatever an engine tells, needs are either refused or whole.
func FuzzNew(f *testing.F) {
	f.Add([]byte(`{"config":{"chains":[{"name":"a","phases":["request_body"],"bodyLimit":5}],"routes":{"r":"a"},"onUnknownRoute":"deny"}}`))
	f.Add([]byte(`{"rejected":{"problems":[{"path":"a","message":"b"}]}}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		var d admin.Dump
		if json.Unmarshal(src, &d) != nil {
			return
		}
		n, err := needs.New(config.DefaultEngine(), d)
		if err != nil {
			return
		}
		for _, r := range n.Routes {
			if r.Chain == nil || chainOf(n, r.Name) != r.Chain || r.Chain.BodyLimit <= 0 {
				t.Errorf("%+v", r)
			}
		}
	})
}

// TestRefused proves that what cannot be relied on is not used.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		dump admin.Dump
		want string
	}{
		{"an engine that has nothing yet", admin.Dump{}, "no configuration yet"},
		{"an engine that was given nonsense", admin.Dump{Rejected: &admin.RejectedDump{Problems: []admin.ProblemDump{{Path: "chains[0]", Message: "is bad"}}}}, "chains[0]: is bad"},
		{"a phase of tomorrow", dump(admin.ChainDump{Name: "x", Phases: []string{"request_dreams"}}), `phase "request_dreams"`},
		{"a route to nowhere", admin.Dump{Config: &admin.ConfigDump{Routes: map[string]string{"r": "c"}}}, `the chain "c"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := needs.New(config.DefaultEngine(), tt.dump); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q in it", err, tt.want)
			}
		})
	}
}

// TestReads proves that it is known which chains compare paths and read the client's
// certificate, by their conditions and parameters.
func TestReads(t *testing.T) {
	for _, tt := range []struct {
		step        admin.StepDump
		path, certs bool
	}{
		{admin.StepDump{When: `request.path == "/a"`}, true, false},
		{admin.StepDump{When: `request.url_path.startsWith("/a")`}, true, false},
		{admin.StepDump{When: `request.method == "GET" || "x-path" in request.headers`}, false, false},
		{admin.StepDump{When: `request.headers["x-forwarded-client-cert"].contains("Subject")`}, false, true},
		{admin.StepDump{Params: []byte(`{"header": "X-Forwarded-Client-Cert"}`)}, false, true},
		{admin.StepDump{When: `written for another version(`}, false, false},
	} {
		dump := admin.Dump{Config: &admin.ConfigDump{Chains: []admin.ChainDump{{Name: "a", Steps: []admin.StepDump{tt.step}}}}}
		n, err := needs.New(config.DefaultEngine(), dump)
		if err != nil {
			t.Fatal(err)
		}
		if c := n.Chains[0]; c.ComparesPath != tt.path || c.ReadsClientCert != tt.certs {
			t.Errorf("%+v: path %v, certificate %v", tt.step, c.ComparesPath, c.ReadsClientCert)
		}
	}
}

func chainOf(n *needs.Needs, route string) *needs.Chain {
	c, _ := n.Chain(route)
	return c
}

// TestPatternsServeRoutes proves that a route is judged by the entry that the engine
// uses for it: exact before patterns, the more specific pattern before the less.
func TestPatternsServeRoutes(t *testing.T) {
	dump := admin.Dump{Config: &admin.ConfigDump{
		Chains: []admin.ChainDump{{Name: "a"}, {Name: "b"}, {Name: "c"}},
		Routes: map[string]string{"httproute/ns/x": "a", "httproute/*/x": "b", "httproute/**": "c"},
	}}
	n, err := needs.New(config.Engine{}, dump)
	if err != nil {
		t.Fatal(err)
	}
	for route, want := range map[string][2]string{
		"httproute/ns/x":        {"a", "httproute/ns/x"},
		"httproute/other/x":     {"b", "httproute/*/x"},
		"httproute/ns/y/rule/0": {"c", "httproute/**"},
		"grpcroute/ns/x":        {"", ""},
	} {
		c, entry := n.Chain(route)
		name := ""
		if c != nil {
			name = c.Name
		}
		if name != want[0] || entry != want[1] {
			t.Errorf("%s: chain %q by %q, want %q", route, name, entry, want)
		}
	}
}
