package keysource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// WellKnown is where an issuer says what it has (OpenID Connect Discovery 1.0, section 4).
const WellKnown = "/.well-known/openid-configuration"

// Discovery finds an issuer's JWK Set by its OpenID Provider Configuration.
type Discovery struct {
	// Issuer is the issuer's identifier: an https URL without query and fragment.
	Issuer string
	// Hosts are the hosts in addition to the issuer's own that the set may be on, each with
	// its port where that is not 443.
	Hosts []string
}

// Address is where the document is.
func (d *Discovery) Address() string { return strings.TrimSuffix(d.Issuer, "/") + WellKnown }

func (d *Discovery) check() (problems []error) {
	if err := CheckURL(d.Issuer); err != nil {
		problems = append(problems, fmt.Errorf("discovery: the issuer is not an https address: %w", err))
	} else if strings.Contains(d.Issuer, "?") {
		problems = append(problems, errors.New("discovery: the issuer has a query, which OpenID Connect does not allow"))
	}
	for i, h := range d.Hosts {
		if u, err := url.Parse("https://" + h + "/"); err != nil || u.Host != h || u.Hostname() == "" || u.User != nil {
			problems = append(problems, fmt.Errorf("hosts[%d]: %q is not a host, with a port or without", i, h))
		}
	}
	return problems
}

// load fetches the document, and then the set that it names.
func (d *Discovery) load(ctx context.Context, client *http.Client) ([]byte, error) {
	client = withoutRedirects(client)
	document, err := get(ctx, client, d.Address())
	if err != nil {
		return nil, fmt.Errorf("fetching the discovery document: %w", withoutURL(err))
	}
	address, err := d.ReadDocument(document)
	if err != nil {
		return nil, fmt.Errorf("reading the discovery document: %w", err)
	}
	return FromURL(client, address)(ctx)
}

// ReadDocument returns the address of the key set that a discovery document names. The
// document has to be the issuer's own (section 4.3), and the address https, on the
// issuer's host or one of the others. It is what an attacker would have to change in
// order to have his own keys believed.
func (d *Discovery) ReadDocument(document []byte) (string, error) {
	var doc struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := unmarshalExactly(document, map[string]*string{"issuer": &doc.Issuer, "jwks_uri": &doc.Keys}); err != nil {
		return "", err
	}
	switch {
	case doc.Issuer != d.Issuer:
		// Not quoted: it may be anything.
		return "", errors.New(`"issuer" is not the issuer of the request`)
	case doc.Keys == "":
		return "", errors.New(`there is no "jwks_uri"`)
	}
	if err := CheckURL(doc.Keys); err != nil {
		return "", fmt.Errorf(`"jwks_uri": %w`, err)
	}
	address, _ := url.Parse(doc.Keys)
	own, _ := url.Parse(d.Issuer)
	same := func(h string) bool { return strings.EqualFold(withPort(h), withPort(address.Host)) }
	if !same(own.Host) && !slices.ContainsFunc(d.Hosts, same) {
		return "", errors.New(`"jwks_uri" is on a host that is neither the issuer's own nor one of "hosts"`)
	}
	return doc.Keys, nil
}

// unmarshalExactly reads the named members, which are strings, of one JSON object, each
// under this very name and once: encoding/json alone would take "Jwks_URI" too, and the
// last of two.
func unmarshalExactly(document []byte, want map[string]*string) error {
	bad := errors.New("it is not one JSON object")
	d := json.NewDecoder(strings.NewReader(strings.TrimPrefix(string(document), "\ufeff")))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return bad
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return bad
		}
		name, _ := t.(string)
		into, wanted := want[name]
		if !wanted {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return bad
			}
			continue
		}
		if seen[name] {
			return fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		if err := d.Decode(into); err != nil {
			return fmt.Errorf("%q is not a string", name)
		}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') || d.More() {
		return bad
	}
	return nil
}

func withPort(host string) string {
	if u, err := url.Parse("https://" + host); err == nil && u.Port() == "" {
		return host + ":443"
	}
	return host
}

var errRedirect = errors.New("the server answered with a redirect; redirects are not followed")

func withoutRedirects(client *http.Client) *http.Client {
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return errRedirect }
	return &c
}
