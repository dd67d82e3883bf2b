package cors

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// origins is a set of origins in the form in which browsers send them.
type origins struct {
	// all is "*".
	all bool
	// exact may hold "null".
	exact map[string]bool
	// subdomains are the wildcards.
	subdomains []subdomain
}

// subdomain is "https://*.example.com:8443": an origin fits if it begins with prefix,
// ends with suffix, and has the labels of a host between them.
type subdomain struct{ prefix, suffix string }

func (o *origins) allow(origin string) bool {
	if o.exact[origin] {
		return true
	}
	if o.all {
		return origin == "null" || isOrigin(origin)
	}
	for _, s := range o.subdomains {
		if len(origin) > len(s.prefix)+len(s.suffix) && strings.HasPrefix(origin, s.prefix) && strings.HasSuffix(origin, s.suffix) &&
			isLabels(origin[len(s.prefix):len(origin)-len(s.suffix)]) {
			return true
		}
	}
	return false
}

// isOrigin reports whether s could be the serialisation of an origin (HTML standard,
// "ASCII serialization of an origin").
func isOrigin(s string) bool {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme == "" || rest == "" || len(s) > maxOrigin {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ',' {
			return false
		}
	}
	return !strings.ContainsAny(rest, "/?#@\\")
}

// maxOrigin is the longest origin that "*" takes: a host name has 253 characters.
const maxOrigin = 512

// isLabels reports whether s is one or more labels of a host name in lower case.
func isLabels(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := 0; i < len(label); i++ {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// parseOrigin adds an origin of the parameters, whose form has to be the one that
// browsers send, since they are compared byte by byte.
func (o *origins) parseOrigin(s string) error {
	switch s {
	case "*":
		o.all = true
		return nil
	case "null":
		o.exact[s] = true
		return nil
	}
	u, err := url.Parse(strings.Replace(s, "://*.", "://wildcard.", 1))
	if err != nil || u.Scheme == "" || u.Host == "" {
		return errors.New(`is no origin: write SCHEME://HOST or SCHEME://HOST:PORT, "*" or "null"`)
	}
	if u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(s, "?#") {
		return fmt.Errorf("has more than an origin: write %s://%s", u.Scheme, u.Host)
	}
	if lower := strings.ToLower(s); lower != s {
		return fmt.Errorf("has upper case letters; browsers send %q", lower)
	}
	if err := checkHost(u); err != nil {
		return err
	}
	scheme, rest, _ := strings.Cut(s, "://")
	host, wildcard := strings.CutPrefix(rest, "*.")
	switch {
	case wildcard && !strings.Contains(strings.Split(host, ":")[0], "."):
		return fmt.Errorf("would allow every host below %q: name at least two labels, as in https://*.example.com", host)
	case wildcard:
		o.subdomains = append(o.subdomains, subdomain{prefix: scheme + "://", suffix: "." + host})
	default:
		o.exact[s] = true
	}
	return nil
}

// defaultPorts are left out by browsers.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

func checkHost(u *url.URL) error {
	if u.Scheme == "file" {
		return errors.New(`is never sent: pages of files have the origin "null"`)
	}
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() || a.String() != host {
			return errors.New("has no IPv6 address in its shortest form between the brackets")
		}
	} else if !isLabels(host) {
		return errors.New("has no host name in letters, digits and hyphens; write an internationalised name in its ASCII form (xn--...), and * for a whole leading label only")
	}
	port := u.Port()
	if strings.HasSuffix(u.Host, ":") {
		return errors.New("has a colon and no port")
	}
	if port == "" {
		return nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("has the port %q; a port is from 1 to 65535", port)
	}
	if port == defaultPorts[u.Scheme] {
		return fmt.Errorf("names the default port, which browsers leave out: drop %q", ":"+port)
	}
	return nil
}
