package config

import (
	"regexp"
	"time"

	"policyengine.dev/sdk/strictyaml"
)

// XDS is a control plane that chains and routes come from. [DefaultXDS] has the defaults.
type XDS struct {
	// Servers are tried in their order; one or more.
	Servers []XDSServer
	// Dedicated uses the PolicyDiscoveryService in place of the aggregated discovery
	// service.
	Dedicated bool
	// Incremental chooses the incremental variant of the protocol, the default.
	Incremental bool
	// NodeID and Cluster say to the control plane which engine asks. An empty id is the
	// host's name.
	NodeID, Cluster string
	// Wait bounds how long an update waits for what it refers to; 5 s by default.
	Wait time.Duration
	// Partial has good resources take effect though others are bad. By default an update
	// takes effect as a whole or not at all.
	Partial bool
	// Keep is the file that the last good configuration is stored in, or empty. It is
	// absolute. KeepMaxAge is how old it may be to be used; 24 h by default.
	Keep       string
	KeepMaxAge time.Duration
	// MaxMessage bounds a response, in bytes; 32 MiB by default. MaxResources bounds the
	// resources of each type, and MaxBytes all resources together; 0 is what a
	// configuration may have, and 64 MiB.
	MaxMessage, MaxBytes int64
	MaxResources         int
}

// XDSServer is a server of a control plane.
type XDSServer struct {
	Address Address
	// TLS is nil for plaintext. Its files are read for each connection.
	TLS *BackendTLS
}

// DefaultXDS is the configuration of a control plane of which only the servers are said.
func DefaultXDS() XDS {
	return XDS{Incremental: true, Wait: 5 * time.Second, KeepMaxAge: 24 * time.Hour, MaxMessage: 32 << 20, MaxBytes: 64 << 20}
}

type xdsFile struct {
	Servers []struct {
		Address Address `yaml:"address,required"`
		TLS     *struct {
			CA          string `yaml:"ca"`
			Certificate string `yaml:"certificate"`
			Key         string `yaml:"key"`
			ServerName  string `yaml:"serverName"`
		} `yaml:"tls"`
		Insecure bool `yaml:"insecure"`
	} `yaml:"servers,required"`
	Service xdsService `yaml:"service"`
	Variant xdsVariant `yaml:"variant"`
	Node    struct {
		ID      string `yaml:"id"`
		Cluster string `yaml:"cluster"`
	} `yaml:"node"`
	Wait         *positive `yaml:"wait"`
	Partial      bool      `yaml:"partial"`
	Keep         string    `yaml:"keep"`
	KeepMaxAge   *positive `yaml:"keepMaxAge"`
	MaxMessage   *size     `yaml:"maxMessage"`
	MaxBytes     *size     `yaml:"maxBytes"`
	MaxResources *count    `yaml:"maxResources"`
}

type xdsService struct{ dedicated bool }

func (s *xdsService) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, s, "a discovery service", []string{"aggregated", "policies"}, []xdsService{{}, {true}})
}

type xdsVariant struct{ stateOfTheWorld bool }

func (v *xdsVariant) UnmarshalNode(n strictyaml.Node) error {
	return choose(n, v, "a variant of xDS", []string{"incremental", "state_of_the_world"}, []xdsVariant{{}, {true}})
}

// nodeName is what a node's id and cluster may be. A cluster is a directory of
// pectl control-plane.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

func (d *engineDecoder) xds(n strictyaml.Node, f xdsFile) {
	x := DefaultXDS()
	if len(f.Servers) == 0 {
		d.found.Add(n.At("servers").Problem("no server", "name one or more, which are tried in their order"))
	}
	for i, s := range f.Servers {
		at := n.At("servers", i)
		server := XDSServer{Address: s.Address}
		switch {
		case s.TLS != nil:
			t := s.TLS
			if (t.Certificate == "") != (t.Key == "") {
				d.found.Add(at.At("tls").Problem("a certificate and its key go together", "name both files, or neither"))
			}
			server.TLS = &BackendTLS{CA: d.optionalPath(t.CA), Certificate: d.optionalPath(t.Certificate), Key: d.optionalPath(t.Key), ServerName: t.ServerName}
			if s.Insecure {
				d.found.Add(at.At("insecure").KeyProblem("the server has TLS", "leave one of the two out"))
			}
		case s.Address.Network == tcpNetwork && !s.Insecure:
			d.found.Add(at.Problem("a control plane in plaintext: whoever is between could change what is enforced",
				"set tls (an empty mapping trusts the system's authorities), or insecure: true where the network is protected by other means"))
		}
		x.Servers = append(x.Servers, server)
	}
	for _, name := range []string{"id", "cluster"} {
		if at := n.At("node", name); at.Kind() == strictyaml.String && !nodeName.MatchString(at.Text()) {
			d.found.Add(at.Problem("not a name of a node", "write up to 128 letters, digits, '.', '_', ':' and '-', beginning with a letter or a digit"))
		}
	}
	x.Dedicated, x.Incremental = f.Service.dedicated, !f.Variant.stateOfTheWorld
	x.NodeID, x.Cluster = f.Node.ID, f.Node.Cluster
	x.Partial, x.Keep = f.Partial, d.optionalPath(f.Keep)
	if at := n.At("keep"); f.Keep == "" {
		d.emptyText(at)
	}
	setIf(&x.Wait, (*time.Duration)(f.Wait))
	setIf(&x.KeepMaxAge, (*time.Duration)(f.KeepMaxAge))
	setIf(&x.MaxMessage, (*int64)(f.MaxMessage))
	setIf(&x.MaxBytes, (*int64)(f.MaxBytes))
	setIf(&x.MaxResources, (*int)(f.MaxResources))
	if x.MaxMessage > maxXDSMessage {
		d.found.Add(n.At("maxMessage").Problem("too large for a message", "at most 1GiB"))
	}
	d.engine.XDS = &x
}

const maxXDSMessage = 1 << 30
