package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// size is how large a configuration is.
type size struct{ chains, routes, perFile int }

// configuration is a directory with engine.yaml and chains and routes in many files.
type configuration struct {
	dir, socket string
	size        size
	bytes       int64
}

// The key that every chain of the configuration takes, and its hash.
const (
	apiKey     = "correct-horse-battery-staple"
	apiKeyHash = "87cbebfeebc05f7c54ac9336c4b4bbec831227a641951a4bde7edd56020f8590"
)

// tenantHeader is a request header that each chain sets to its own value.
const tenantHeader = "x-tenant"

// chainTemplate is a chain of ten policies of which every one differs from that of every other chain. %[1]d is the
// chain's number and %[2]s the value of tenantHeader.
const chainTemplate = `- name: chain-%[1]d
  policies:
  - name: request-id
    version: v1
    params:
      responseHeader: x-request-id-%[1]d
  - name: ip-allow-deny
    version: v1
    params:
      deny: [192.0.2.13, "2001:db8:%[3]x::/48"]
      client:
        trustedHops: 1
  - name: api-key-validation
    version: v1
    params:
      header: x-api-key
      keys:
      - id: tenant-%[1]d
        sha256: ` + apiKeyHash + `
  - name: rate-limit
    version: v1
    params:
      limits:
      - name: tenant-%[1]d
        rate: 1000000
        window: 1s
        key: [{principal: true}]
  - name: cors
    version: v1
    params:
      allowOrigins: ["https://tenant-%[1]d.example.com"]
      allowMethods: [PUT, DELETE]
      allowHeaders: [authorization, content-type]
  - name: body-limit
    version: v1
    when: request.method == "POST" && request.path.startsWith("/v1/")
    params:
      request:
        maxBytes: %[4]d
        withoutLength: ignore
  - id: tenant
    name: set-header
    version: v1.1
    params:
      request:
        set:
        - name: ` + tenantHeader + `
          value: "%[2]s"
  - id: caller
    name: set-header
    version: v1.1
    when: request.path.startsWith("/tenants/%[1]d/")
    params:
      request:
        set:
        - name: x-caller
          template: "tenant-%[1]d/${auth.subject}"
  - id: origin
    name: set-header
    version: v1.1
    params:
      request:
        remove: [x-forwarded-client]
        append:
        - name: x-forwarded-client
          value: gateway-%[1]d
  - name: security-headers
    version: v1
    params:
      contentSecurityPolicy: default-src 'self' https://tenant-%[1]d.example.com
`

func (c *configuration) file(i int) string {
	return filepath.Join(c.dir, "chains", fmt.Sprintf("team-%04d.yaml", i))
}

func routeName(i int) string { return fmt.Sprintf("route-%d", i) }

// team is the content of file i. Chain first of it has the tenant of that name, and more is added to its routes.
func (c *configuration) team(i int, tenant, more string) []byte {
	var b bytes.Buffer
	b.WriteString("chains:\n")
	first := i * c.size.perFile
	last := min(first+c.size.perFile, c.size.chains)
	for n := first; n < last; n++ {
		value := fmt.Sprintf("tenant-%d", n)
		if n == first {
			value = tenant
		}
		fmt.Fprintf(&b, chainTemplate, n, value, n&0xffff, 1_000_000+n)
	}
	b.WriteString("routes:\n")
	for n := range c.size.routes {
		if chain := n % c.size.chains; chain >= first && chain < last {
			fmt.Fprintf(&b, "- name: %s\n  chain: chain-%d\n", routeName(n), chain)
		}
	}
	b.WriteString(more)
	return b.Bytes()
}

func (c *configuration) files() int { return (c.size.chains + c.size.perFile - 1) / c.size.perFile }

func writeConfiguration(dir string, s size) (*configuration, error) {
	c := &configuration{dir: dir, socket: filepath.Join(dir, "engine.sock"), size: s}
	if err := os.Mkdir(filepath.Join(dir, "chains"), 0o700); err != nil {
		return nil, err
	}
	engine := fmt.Sprintf("listeners: [{address: %q}]\nadmin: {address: %q, pprof: true}\nsource: {path: chains}\ntelemetry: {logs: {level: warn}}\n"+
		"drain: {delay: 0s}\nfilter: {messageTimeout: 1m, processingMode: {requestTrailers: send}}\n", "unix:"+c.socket, "unix:"+c.admin())
	if err := os.WriteFile(c.engineFile(), []byte(engine), 0o600); err != nil {
		return nil, err
	}
	for i := range c.files() {
		content := c.team(i, "first", "")
		c.bytes += int64(len(content))
		if err := os.WriteFile(c.file(i), content, 0o600); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *configuration) engineFile() string { return filepath.Join(c.dir, "engine.yaml") }
func (c *configuration) admin() string      { return filepath.Join(c.dir, "admin.sock") }

// change replaces a file as editors do: another one is renamed onto it.
func (c *configuration) change(i int, content []byte) error {
	temporary := filepath.Join(c.dir, ".new.yaml")
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, c.file(i))
}
