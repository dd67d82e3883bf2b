package policy

import (
	"errors"
	"strings"
)

// The reasons why policies must not change a header.
var (
	errPseudoHeader = errors.New("is a pseudo-header: change it by the action's own field (Method, Authority, Path, Status)")
	errHostHeader   = errors.New("is the authority: change it by the action's Authority")
	errFraming      = errors.New("frames the message, which is the proxy's task")
	errConnection   = errors.New("belongs to one connection (RFC 9110, section 7.6.1), not to the message")
	errEnvoyHeader  = errors.New("is Envoy's own: Envoy ignores what a processor does to x-envoy-*")
	errNotToken     = errors.New("is not a header name: it consists of letters, digits and !#$%&'*+-.^_`|~")
)

// CheckHeaderEdit returns an error if a policy must not set, append or remove the header or
// trailer name, and nil otherwise. The error text continues a sentence that begins with the
// name. It refuses names that are not tokens (RFC 9110, section 5.6.2), pseudo-headers,
// host, headers of the connection, headers that frame the message, and x-envoy-*, whose
// changes Envoy drops silently. The case of name does not matter. A policy with header
// names as parameters calls it in New; the runtime calls it for every action.
func CheckHeaderEdit(name string) error {
	if !ValidHeaderName(name) {
		if strings.HasPrefix(name, ":") {
			return errPseudoHeader
		}
		return errNotToken
	}
	// By length first: this runs for each header of each action.
	switch len(name) {
	case len("te"):
		return refuse(name, errConnection, "te")
	case len("host"):
		return refuse(name, errHostHeader, "host")
	case len("upgrade"):
		return refuse(name, errConnection, "upgrade")
	case len("connection"):
		return refuse(name, errConnection, "connection", "keep-alive")
	case len("content-length"):
		if err := refuse(name, errFraming, "content-length"); err != nil {
			return err
		}
		return refuse(name, errConnection, "http2-settings")
	case len("proxy-connection"):
		if err := refuse(name, errConnection, "proxy-connection"); err != nil {
			return err
		}
	case len("transfer-encoding"):
		if err := refuse(name, errFraming, "transfer-encoding"); err != nil {
			return err
		}
	}
	const envoy = "x-envoy-"
	if len(name) >= len(envoy) && strings.EqualFold(name[:len(envoy)], envoy) {
		return errEnvoyHeader
	}
	return nil
}

func refuse(name string, why error, refused ...string) error {
	for _, r := range refused {
		if strings.EqualFold(name, r) {
			return why
		}
	}
	return nil
}
