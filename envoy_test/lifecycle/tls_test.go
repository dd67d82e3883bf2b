package lifecycle_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
)

// The names in certificates.
const (
	engineName = "engine.example"
	envoyID    = "spiffe://example/envoy"
)

// authority issues certificates, as files in the site's directory.
type authority struct {
	s    *site
	name string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (s *site) authority(name string) *authority {
	s.t.Helper()
	a := &authority{s: s, name: name, key: s.newKey()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		s.t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *site) newKey() *ecdsa.PrivateKey {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

// put writes a file that appears as a whole, and returns its path.
func (s *site) put(name string, content []byte) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// pair are the files of a certificate and its key.
type pair struct{ cert, key string }

// issue writes a certificate with that name, a URI or a DNS name, into files of that
// name; what was there is replaced.
func (a *authority) issue(file, san string) pair {
	a.s.t.Helper()
	key := a.s.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if uri, err := url.Parse(san); err == nil && uri.Scheme != "" {
		template.URIs = []*url.URL{uri}
	} else {
		template.DNSNames = []string{san}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.s.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.s.t.Fatal(err)
	}
	// The key first: while the two do not fit each other the old ones stay.
	return pair{key: a.s.put(file+".key", block("PRIVATE KEY", pkcs8)), cert: a.s.put(file+".pem", block("CERTIFICATE", der))}
}

// trust writes a file of authorities.
func (s *site) trust(file string, all ...*authority) string {
	var content []byte
	for _, a := range all {
		content = append(content, block("CERTIFICATE", a.cert.Raw)...)
	}
	return s.put(file, content)
}

// listening are the listeners of an engine: one for the test's own use, and one with
// TLS on a port that the operating system chooses.
func (s *site) listening(name string, tls map[string]any) []any {
	return []any{
		map[string]any{"address": "unix:" + filepath.Join(s.dir, name, "engine.sock")},
		map[string]any{"address": "127.0.0.1:0", "tls": tls},
	}
}

// secured is where the engine listens with TLS, as it has logged it.
func secured(t *testing.T, e *harness.Engine) string {
	t.Helper()
	for line := range strings.Lines(e.Log()) {
		var entry struct {
			Message string `json:"msg"`
			Address string
			TLS     bool
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "listening" && entry.TLS {
			return entry.Address
		}
	}
	t.Fatalf("the engine does not say where it listens with TLS:\n%s", e.Log())
	return ""
}

// tlsCluster is a cluster that speaks TLS: trusts is a file of authorities, shows what
// Envoy shows of itself (nothing where it is empty). version is TLSv1_2 or TLSv1_3.
func tlsCluster(trusts string, shows pair, version string) map[string]any {
	filename := func(path string) any { return map[string]any{"filename": path} }
	common := map[string]any{
		"tls_params": map[string]any{"tls_minimum_protocol_version": version, "tls_maximum_protocol_version": version},
		"validation_context": map[string]any{
			"trusted_ca": filename(trusts),
			"match_typed_subject_alt_names": []any{map[string]any{
				"san_type": "DNS", "matcher": map[string]any{"exact": engineName},
			}},
		},
	}
	if shows.cert != "" {
		common["tls_certificates"] = []any{map[string]any{"certificate_chain": filename(shows.cert), "private_key": filename(shows.key)}}
	}
	return map[string]any{"transport_socket": map[string]any{
		"name": "envoy.transport_sockets.tls",
		"typed_config": map[string]any{
			"@type":              "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
			"sni":                engineName,
			"common_tls_context": common,
		},
	}}
}

// TestWhoMayConnectByTLS shows that an Envoy with an allowed certificate is served, and
// that every other one fails its requests, none of which reaches the upstream.
func TestWhoMayConnectByTLS(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ours, others := s.authority("ours"), s.authority("others")
	trusted := s.trust("ours.pem", ours)
	shown := ours.issue("engine", engineName)
	e := s.engine("mutual", map[string]any{"listeners": s.listening("mutual", map[string]any{
		"certificate": shown.cert, "key": shown.key, "clientCA": trusted, "allowedSANs": []any{envoyID},
	})})
	open := s.engine("oneway", map[string]any{"listeners": s.listening("oneway", map[string]any{
		"certificate": shown.cert, "key": shown.key,
	})})
	good, foreign := ours.issue("good", envoyID), ours.issue("foreign", "spiffe://example/somebody")
	forged := others.issue("forged", envoyID)
	for name, c := range map[string]struct {
		engine  *harness.Engine
		cluster map[string]any
		served  bool
		logged  string
	}{
		"the name that is allowed":                {e, tlsCluster(trusted, good, "TLSv1_2"), true, ""},
		"the name that is allowed, by TLS 1.3":    {e, tlsCluster(trusted, good, "TLSv1_3"), true, ""},
		"another name":                            {e, tlsCluster(trusted, foreign, "TLSv1_2"), false, "none of the allowed names"},
		"another name, by TLS 1.3":                {e, tlsCluster(trusted, foreign, "TLSv1_3"), false, "none of the allowed names"},
		"the name from another authority":         {e, tlsCluster(trusted, forged, "TLSv1_2"), false, "unknown authority"},
		"no certificate":                          {e, tlsCluster(trusted, pair{}, "TLSv1_2"), false, "didn't provide a certificate"},
		"no certificate, by TLS 1.3":              {e, tlsCluster(trusted, pair{}, "TLSv1_3"), false, "didn't provide a certificate"},
		"no TLS":                                  {e, nil, false, "does not look like a TLS handshake"},
		"an engine that Envoy does not trust":     {e, tlsCluster(s.trust("others.pem", others), good, "TLSv1_2"), false, "unknown certificate"},
		"no certificate, and none is asked for":   {open, tlsCluster(trusted, pair{}, "TLSv1_2"), true, ""},
		"a certificate that nobody has asked for": {open, tlsCluster(trusted, foreign, "TLSv1_2"), true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{t: t, dir: harnesstest.Dir(t), upstream: newUpstream(t)}
			s.front(secured(t, c.engine), c.cluster)
			before := len(c.engine.Log())
			a := s.get("/app")
			if c.served {
				if err := a.signed(); err != nil {
					t.Error(err)
				}
				return
			}
			if err := s.refused(a); err != nil {
				t.Error(err)
			}
			logs(t, c.engine, before, "a connection was refused", c.logged)
		})
	}
}

// issuer is the authority of the certificate that the engine shows.
func issuer(t *testing.T, address string, shows pair) (string, error) {
	t.Helper()
	client, err := tls.LoadX509KeyPair(shows.cert, shows.key)
	if err != nil {
		return "", err
	}
	conn, err := tls.Dial("tcp", address, &tls.Config{
		Certificates: []tls.Certificate{client}, NextProtos: []string{"h2"}, MaxVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, // whoever it is: that is the question
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Issuer.CommonName, nil
}

// bySDS has Envoy take what it shows from a file that it watches: a secret of SDS.
func bySDS(cluster map[string]any, file string) map[string]any {
	config := cluster["transport_socket"].(map[string]any)["typed_config"].(map[string]any)
	config["common_tls_context"].(map[string]any)["tls_certificate_sds_secret_configs"] = []any{map[string]any{
		"name": "shown", "sds_config": map[string]any{"resource_api_version": "V3", "path_config_source": map[string]any{"path": file}},
	}}
	return cluster
}

// secret writes such a file.
func (s *site) secret(name string, shows pair) string {
	s.t.Helper()
	content, err := json.Marshal(map[string]any{"resources": []any{map[string]any{
		"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": "shown",
		"tls_certificate": map[string]any{
			"certificate_chain": map[string]any{"filename": shows.cert}, "private_key": map[string]any{"filename": shows.key},
		},
	}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.put(name, content)
}

// renewed waits until Envoy has made some connections more.
func renewed(t *testing.T, e *harness.Envoy) {
	t.Helper()
	begun := clusterStat(t, e, "ssl.handshake")
	harnesstest.Eventually(t, func() error {
		if now := clusterStat(t, e, "ssl.handshake"); now < begun+5 {
			return fmt.Errorf("Envoy has made %d new connections", now-begun)
		}
		return nil
	})
}

// TestCertificatesAreRotatedUnderLoad replaces everything, one after the other, while
// Envoy runs and requests go on: the authorities that the engine trusts, its own
// certificate, Envoy's, and at last the old authority. Nothing fails meanwhile, and then
// an Envoy that trusts or shows only what is old is refused.
func TestCertificatesAreRotatedUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	before, after := s.authority("before"), s.authority("after")
	shown := before.issue("engine", engineName)
	clients := s.trust("clients.pem", before)
	e := s.engine("only", map[string]any{
		"listeners":   s.listening("only", map[string]any{"certificate": shown.cert, "key": shown.key, "clientCA": clients, "allowedSANs": []any{envoyID}}),
		"connections": map[string]any{"maxAge": "100ms", "maxAgeGrace": "1m"},
	})
	address := secured(t, e)
	old, young := before.issue("old", envoyID), after.issue("young", envoyID)
	s.front(address, bySDS(tlsCluster(s.trust("both.pem", before, after), pair{}, "TLSv1_3"), s.secret("secret.json", old)))
	l := send(t, s.envoy, "/app")
	l.served(t, "only")

	s.trust("clients.pem", before, after)
	after.issue("engine", engineName)
	harnesstest.Eventually(t, func() error {
		name, err := issuer(t, address, young)
		if err == nil && name != "after" {
			err = fmt.Errorf("the engine shows a certificate of %q", name)
		}
		return err
	})
	renewed(t, s.envoy)

	const updates = "client_ssl_socket_factory.ssl_context_update_by_sds"
	updated := clusterStat(t, s.envoy, updates)
	s.secret("secret.json", young)
	harnesstest.Eventually(t, func() error {
		if clusterStat(t, s.envoy, updates) == updated {
			return errors.New("Envoy has not taken its new certificate")
		}
		return nil
	})
	renewed(t, s.envoy)

	s.trust("clients.pem", after)
	harnesstest.Eventually(t, func() error {
		if _, err := issuer(t, address, old); err == nil {
			return errors.New("the engine still takes clients of the old authority")
		}
		return nil
	})
	renewed(t, s.envoy)
	l.end(t)

	for name, c := range map[string]struct {
		trusts string
		shows  pair
		served bool
	}{
		"all is new":                         {s.trust("after.pem", after), young, true},
		"Envoy trusts what is old alone":     {s.trust("before.pem", before), young, false},
		"Envoy shows an old authority's own": {s.trust("after.pem", after), old, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{t: t, dir: harnesstest.Dir(t), upstream: newUpstream(t)}
			s.front(address, tlsCluster(c.trusts, c.shows, "TLSv1_2"))
			a := s.get("/app")
			if err := a.signed(); c.served && err != nil {
				t.Error(err)
			}
			if err := s.refused(a); !c.served && err != nil {
				t.Error(err)
			}
		})
	}
}
