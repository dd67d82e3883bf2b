package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestControlPlaneFile proves what engine.yaml may say of a control plane, and that plaintext
// over TCP has to be asked for.
func TestControlPlaneFile(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"a Unix socket", "{xds: {servers: [{address: 'unix:/run/s'}]}}", ""},
		{"plaintext that is asked for", "{xds: {servers: [{address: 'cp:1', insecure: true}]}}", ""},
		{"TLS with the system's authorities", "{xds: {servers: [{address: 'cp:1', tls: {}}]}}", ""},
		{"plaintext over TCP", "{xds: {servers: [{address: 'cp:1'}]}}", "in plaintext"},
		{"plaintext on one machine", "{xds: {servers: [{address: '127.0.0.1:1'}]}}", "in plaintext"},
		{"both TLS and plaintext", "{xds: {servers: [{address: 'cp:1', tls: {}, insecure: true}]}}", "leave one of the two out"},
		{"a certificate without its key", "{xds: {servers: [{address: 'cp:1', tls: {certificate: c}}]}}", "go together"},
		{"no server", "{xds: {servers: []}}", "no server"},
		{"a file as well", "{path: c, xds: {servers: [{address: 'unix:/run/s'}]}}", "come from one place"},
		{"nothing", "{onInvalidStart: wait}", "come from one place"},
		{"a cluster that is a path", "{xds: {servers: [{address: 'unix:/run/s'}], node: {cluster: '../x'}}}", "not a name of a node"},
		{"an empty name of a file", "{xds: {servers: [{address: 'unix:/run/s'}], keep: ''}}", "is empty"},
		{"another variant", "{xds: {servers: [{address: 'unix:/run/s'}], variant: delta}}", "incremental or state_of_the_world"},
		{"a huge message", "{xds: {servers: [{address: 'unix:/run/s'}], maxMessage: 2GiB}}", "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseEngine("engine.yaml", "/etc", []byte("source: "+c.src))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v", err)
			}
		})
	}
	e, err := ParseEngine("engine.yaml", "/etc", []byte(`
source:
  xds:
    servers:
    - {address: "a:1", tls: {ca: ca.pem, certificate: c.pem, key: k.pem, serverName: cp}}
    - {address: "unix:/run/s"}
    service: policies
    variant: state_of_the_world
    node: {id: e1, cluster: pay}
    wait: 1s
    partial: true
    keep: kept
    keepMaxAge: 2h
    maxMessage: 1MiB
    maxBytes: 2MiB
    maxResources: 7
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &XDS{
		Servers: []XDSServer{
			{Address{tcpNetwork, "a:1"}, &BackendTLS{CA: "/etc/ca.pem", Certificate: "/etc/c.pem", Key: "/etc/k.pem", ServerName: "cp"}},
			{Address: Address{unixNetwork, "/run/s"}},
		},
		Dedicated: true, NodeID: "e1", Cluster: "pay", Wait: time.Second, Partial: true, Keep: "/etc/kept", KeepMaxAge: 2 * time.Hour,
		MaxMessage: 1 << 20, MaxBytes: 2 << 20, MaxResources: 7,
	}
	if diff := cmp.Diff(want, e.XDS); diff != "" || e.OnInvalidStart != WaitOnInvalidStart {
		t.Errorf("%v (-want +got):\n%s", e.OnInvalidStart, diff)
	}
}
