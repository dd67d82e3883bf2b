package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"policyengine.dev/envoy_test/harness"
)

// The names of the routes, each for the paths that begin with it. All but the last
// have a chain.
var routeNames = []string{"status", "charge", "services", "accounts", "partners", "trial", "shop", "transfers", "uploads", "limited", "inside", "forgotten"}

// baselineRoute is one on which Envoy does not ask the engine.
const baselineRoute = "baseline"

func routes() []any {
	baseline := harness.Route(baselineRoute, "/"+baselineRoute)
	baseline["typed_per_filter_config"] = map[string]any{"envoy.filters.http.ext_proc": map[string]any{
		"@type":    "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute",
		"disabled": true,
	}}
	all := []any{baseline}
	for _, name := range routeNames {
		all = append(all, harness.Route(name, "/"+name))
	}
	return all
}

const (
	goodKey = "correct-horse-battery-staple"
	readKey = "correct-horse-battery-clip"
	people  = "https://people.example.com/"
	shops   = "https://shops.example.com/"
)

// scene is what the demo plays with: chains, and tokens that fit them or do not.
// Everything secret is made again each time.
type scene struct {
	chains []byte
	now    time.Time
	// people and shops are two issuers' keys, stranger's is nobody's.
	people, shops, stranger *ecdsa.PrivateKey
}

func newScene(now time.Time) (*scene, error) {
	s := &scene{now: now}
	for _, key := range []**ecdsa.PrivateKey{&s.people, &s.shops, &s.stranger} {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("making a key: %w", err)
		}
		*key = k
	}
	chains, err := s.write()
	s.chains = chains
	return s, err
}

// write writes the chains as YAML, which the user may read and change while the demo
// runs. Only the keys are generated.
func (s *scene) write() ([]byte, error) {
	peopleKey, err := jwk(&s.people.PublicKey)
	if err != nil {
		return nil, err
	}
	shopsKey, err := jwk(&s.shops.PublicKey)
	if err != nil {
		return nil, err
	}
	hash, readHash := sha256.Sum256([]byte(goodKey)), sha256.Sum256([]byte(readKey))
	return fmt.Appendf(nil, chainsFormat, hex.EncodeToString(hash[:]), peopleKey, shopsKey, hex.EncodeToString(readHash[:])), nil
}

const chainsFormat = `# What the engine does on each route. Change this file while the demo runs: the
# engine reloads it, and logs every problem if it is not valid.
chains:
- name: public
  policies:
  - name: set-header
    version: v1.0.0
    params:
      request: {set: [{name: x-tenant, value: payments}]}
      response: {set: [{name: x-served-by, value: policy-engine}]}

- name: keyed
  policies:
  - name: api-key-validation
    version: v1.0.0
    params:
      header: x-api-key
      idHeader: x-api-key-id
      keys: [{id: billing, sha256: %[1]s}]
  - name: set-header
    version: v1.0.0
    when: request.method == "POST"
    params: {request: {set: [{name: x-write, value: "yes"}]}}

- name: services
  policies:
  - name: api-key-validation
    version: v1.1.0
    params:
      header: authorization
      scheme: ApiKey
      scopes: {all: [refund]}
      # Two keys of one owner: the new one may do less, and the old one works until it is removed.
      keys:
      - {id: billing, sha256: %[1]s, scopes: [refund], labels: {team: money}}
      - {id: billing, sha256: %[4]s, scopes: [read]}
  - name: set-header
    version: v1.1.0
    params: {request: {set: [{name: x-team, template: "${auth.claims.team}"}]}}

- name: people
  policies:
  - name: jwt-validation
    version: v1.0.0
    params:
      issuer: https://people.example.com/
      audiences: [payments]
      algorithms: [ES256]
      keys: {inline: [{jwk: %[2]s}]}
      claimsToHeaders: [{claim: sub, header: x-user}]

- name: people-and-shops
  policies:
  - name: jwt-validation
    version: v2.0.0
    params:
      issuers:
      - issuer: https://people.example.com/
        audiences: [payments]
        algorithms: [ES256]
        keys: {inline: [{jwk: %[2]s}]}
        claimsToHeaders: [{claim: sub, header: x-user}]
      - issuer: https://shops.example.com/
        audiences: [payments]
        algorithms: [ES256]
        keys: {inline: [{jwk: %[3]s}]}
        scopes: {all: [refund]}
        claimsToHeaders: [{claim: sub, header: x-shop}]

- name: trial
  policies:
  - name: api-key-validation
    version: v1.0.0
    mode: shadow
    params:
      header: x-api-key
      keys: [{id: billing, sha256: %[1]s}]

- name: shop
  policies:
  - {name: request-id, version: v1.0.0, params: {}}
  - name: audit-log
    version: v1.0.0
    params: {output: {stdout: true}}
  - name: cors
    version: v1.0.0
    params: {allowOrigins: ["https://shop.example.com"], allowMethods: [PUT]}
  - {name: security-headers, version: v1.0.0, params: {}}
  - name: set-header
    version: v1.1.0
    params: {request: {set: [{name: x-call, template: "${request.method} ${request.path}"}]}}
  - {name: response-masking, version: v1.0.0, params: {}}

- name: uploads
  policies:
  - name: body-limit
    version: v1.0.0
    params: {request: {maxBytes: 1024}}

- name: transfers
  policies:
  - name: json-schema-validation
    version: v1.0.0
    params:
      request:
        schema:
          type: object
          additionalProperties: false
          required: [amount, currency]
          properties:
            amount: {type: integer, minimum: 1}
            currency: {enum: [EUR, USD]}

- name: limited
  policies:
  - name: rate-limit
    version: v1.0.0
    params:
      limits: [{name: client, rate: 3, window: 1h, key: [{header: x-client}]}]

- name: inside
  policies:
  - name: ip-allow-deny
    version: v1.0.0
    params: {allow: [192.0.2.0/24], client: {trustedHops: 0}}
  - name: mtls-identity
    version: v1.0.0
    params: {anyIdentity: true}

routes:
- {name: status, chain: public}
- {name: charge, chain: keyed}
- {name: services, chain: services}
- {name: accounts, chain: people}
- {name: partners, chain: people-and-shops}
- {name: trial, chain: trial}
- {name: shop, chain: shop}
- {name: transfers, chain: transfers}
- {name: uploads, chain: uploads}
- {name: limited, chain: limited}
- {name: inside, chain: inside}
onUnknownRoute: deny
`

// jwk is a public key as a JSON Web Key (RFC 7517).
func jwk(key *ecdsa.PublicKey) (string, error) {
	point, err := key.Bytes() // 0x04, x, y: SEC 1, section 2.3.3
	if err != nil {
		return "", fmt.Errorf("encoding a key: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	size := (len(point) - 1) / 2
	b, err := json.Marshal(map[string]string{
		"kty": "EC", "crv": "P-256", "x": encode(point[1 : 1+size]), "y": encode(point[1+size:]),
	})
	return string(b), err
}

// token makes a token for the audience payments that is valid for an hour from issued.
func token(key *ecdsa.PrivateKey, issuer, subject, scope string, issued time.Time) (string, error) {
	claims := jwt.MapClaims{
		"iss": issuer, "sub": subject, "aud": "payments", "iat": issued.Unix(), "exp": issued.Add(time.Hour).Unix(),
	}
	if scope != "" {
		claims["scope"] = scope
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed, nil
}

// unsigned makes a token with the algorithm none (RFC 7519, section 6).
func unsigned(subject string, issued time.Time) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{
		"iss": people, "sub": subject, "aud": "payments", "exp": issued.Add(time.Hour).Unix(),
	}).SignedString(jwt.UnsafeAllowNoneSignatureType)
}
