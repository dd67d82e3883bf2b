package keysource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/sdk/policy"
)

// Place is where a policy's parameters say that keys are. One of Inline, File and
// URL is set.
type Place struct {
	// Inline are keys in the parameters themselves.
	Inline []InlineKey `json:"inline"`
	// File is the path of a JWK Set, which is read again every Refresh.
	File string `json:"file"`
	// URL is the https address of a JWK Set, which is fetched again every
	// Refresh.
	URL string `json:"url"`
	// Discovery and TLS, and what they imply, are no parameters of every version.
	Discovery *Discovery `json:"-"`
	TLS       TLS        `json:"-"`
	// NoRedirects refuses redirects.
	NoRedirects bool `json:"-"`
	// Refresh and MaxStale are as in [Config].
	Refresh  policy.Duration `json:"refresh"`
	MaxStale policy.Duration `json:"maxStale"`
}

// InlineKey is one public key: a JWK, or PEM.
type InlineKey struct {
	// JWK is a JSON Web Key (RFC 7517).
	JWK json.RawMessage `json:"jwk"`
	// PEM is a public key or a certificate.
	PEM string `json:"pem"`
	// KID is the "kid" that tokens name a PEM key by, or empty.
	KID string `json:"kid"`
	// Algorithm is the one algorithm that a PEM key is for; empty for all that
	// its type fits.
	Algorithm string `json:"algorithm"`
}

// Name is the file or URL that keys are loaded from; empty for keys in the parameters.
func (p *Place) Name() string {
	if p.Discovery != nil {
		return "discovery " + p.Discovery.Issuer
	}
	return p.URL + p.File
}

// MinRefresh is the shortest time between two loads: an issuer is not to be
// flooded because of a slip.
const MinRefresh = 10 * time.Second

// Open returns the source at p, with everything that is wrong with p, each problem
// with the field in front. allowed are the algorithms that tokens may have: keys
// in the parameters that fit none of them are a mistake. It does no I/O.
//
// All instances of a policy version that load an issuer's keys from one place, and as
// often, share one source. It is closed with the last of them.
func (p *Place) Open(host policy.Host, issuer string, allowed jose.Algorithms) (*Source, []error) {
	var problems []error
	given := 0
	for _, there := range []bool{len(p.Inline) > 0, p.File != "", p.URL != "", p.Discovery != nil} {
		if there {
			given++
		}
	}
	if given != 1 {
		return nil, []error{errors.New("inline, file, url: give exactly one of them")}
	}
	if len(p.Inline) > 0 {
		set, problems := p.inline(allowed)
		if len(problems) > 0 {
			return nil, problems
		}
		return Static(set), nil
	}
	if p.Refresh.Std() < MinRefresh {
		problems = append(problems, fmt.Errorf("refresh: %s is too short; %s is the least", p.Refresh, MinRefresh))
	}
	if p.MaxStale < p.Refresh {
		problems = append(problems, fmt.Errorf("maxStale: %s is less than refresh (%s): keys would be too old before they are renewed", p.MaxStale, p.Refresh))
	}
	if p.URL != "" {
		if err := CheckURL(p.URL); err != nil {
			// Not quoted: it may have a secret in its query.
			problems = append(problems, fmt.Errorf("url: %w", err))
		}
	}
	if p.Discovery != nil {
		problems = append(problems, p.Discovery.check()...)
	}
	problems = append(problems, p.TLS.check()...)
	if !p.TLS.isZero() && p.URL == "" && p.Discovery == nil {
		problems = append(problems, errors.New("tls: it goes with url or discovery"))
	}
	if len(problems) > 0 {
		return nil, problems
	}
	key := fmt.Sprintf("%q %q %q %s %s", issuer, p.File, p.Name(), p.Refresh, p.MaxStale)
	if p.Discovery != nil || !p.TLS.isZero() || p.NoRedirects {
		key += fmt.Sprintf(" %t %q %#v", p.NoRedirects, p.hosts(), p.TLS)
	}
	s, err := policy.Share(host, key, func(host policy.Host) (*Source, error) { return p.source(host, issuer), nil })
	if err != nil {
		return nil, []error{err}
	}
	return s, nil
}

// source makes the source of a file or a URL.
func (p *Place) source(host policy.Host, issuer string) *Source {
	load := FromFile(p.File)
	if p.URL != "" || p.Discovery != nil {
		load = p.remote(host)
	}
	return New(Config{
		Load:     load,
		Clock:    host.Clock,
		Logger:   host.Logger.With("issuer", issuer),
		Refresh:  p.Refresh.Std(),
		MaxStale: p.MaxStale.Std(),
		Metrics:  NewMetrics(host.Metrics, issuer),
	})
}

// remote loads over HTTPS.
func (p *Place) remote(host policy.Host) Loader {
	client := p.TLS.client(host)
	return func(ctx context.Context) ([]byte, error) {
		c, done, err := client()
		if err != nil {
			return nil, err
		}
		defer done()
		switch {
		case p.Discovery != nil:
			return p.Discovery.load(ctx, c)
		case p.NoRedirects:
			return FromURL(withoutRedirects(c), p.URL)(ctx)
		}
		return FromURL(c, p.URL)(ctx)
	}
}

func (p *Place) hosts() []string {
	if p.Discovery == nil {
		return nil
	}
	return p.Discovery.Hosts
}

func (p *Place) inline(allowed jose.Algorithms) (*jose.KeySet, []error) {
	var problems []error
	var keys []*jose.Key
	for i := range p.Inline {
		k, err := p.Inline[i].parse()
		if err == nil && k.Algorithms()&allowed == 0 {
			err = fmt.Errorf("a key for %s, but algorithms has only %s", k.Algorithms(), allowed)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("inline[%d]: %w", i, err))
			continue
		}
		keys = append(keys, k)
	}
	set, err := jose.NewKeySet(keys...)
	if err != nil {
		problems = append(problems, fmt.Errorf("inline: %w", err))
	}
	return set, problems
}

func (k *InlineKey) parse() (*jose.Key, error) {
	switch {
	case (len(k.JWK) > 0) == (k.PEM != ""):
		return nil, errors.New("jwk, pem: give exactly one of them")
	case k.PEM != "":
		return jose.ParsePEM(k.KID, k.Algorithm, []byte(k.PEM))
	case k.KID != "" || k.Algorithm != "":
		return nil, errors.New(`kid, algorithm: they go with pem; a jwk has "kid" and "alg" itself`)
	}
	return jose.ParseJWK(k.JWK)
}
