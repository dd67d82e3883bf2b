package config_test

import (
	"strings"
	"testing"
	"time"

	"policyengine.dev/runtime/config"
)

// TestBackends proves that a backend is declared with its bounds, and that all problems of one
// are told, without what may be a credential.
func TestBackends(t *testing.T) {
	good := "source: {path: chains.yaml}\nbackends:\n" +
		"- {name: authz, url: 'https://authz.internal:8443/v1', timeout: 200ms, maxConcurrent: 64, maxResponse: 64KiB, breaker: {failures: 3, pause: 10s}, tls: {ca: ca.pem, certificate: c.pem, key: k.pem, serverName: authz}}\n" +
		"- {name: plain, url: 'http://127.0.0.1:9'}\n"
	e, err := config.ParseEngine("engine.yaml", "/etc/pe", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	b := e.Backends[0]
	if b.Name != "authz" || b.URL.Host != "authz.internal:8443" || b.Timeout != 200*time.Millisecond || b.MaxConcurrent != 64 || b.MaxResponse != 64<<10 ||
		b.BreakerFailures != 3 || b.BreakerPause != 10*time.Second || *b.TLS != (config.BackendTLS{CA: "/etc/pe/ca.pem", Certificate: "/etc/pe/c.pem", Key: "/etc/pe/k.pem", ServerName: "authz"}) {
		t.Errorf("decoded %+v %+v", b, b.TLS)
	}
	if p := e.Backends[1]; p.TLS != nil || p.Timeout != 0 {
		t.Errorf("decoded %+v", p)
	}
	_, err = config.ParseEngine("engine.yaml", "/etc/pe", []byte("source: {path: chains.yaml}\nbackends:\n"+
		"- {name: Authz, url: 'https://u:hunter2@h/'}\n- {name: a, url: 'http://h', tls: {certificate: c.pem}}\n- {name: a, url: b}\n- {url: 'https://h', maxConcurrent: 0}\n"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Fatal(err)
	}
	for _, want := range []string{"3:10", "not a name", "3:22", "not a base URL", "the URL has no TLS", "go together", "another backend has this name", "name"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}
