// Package basicauth lets requests pass that carry a known user name and password, by
// HTTP Basic authentication (RFC 7617).
package basicauth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"policyengine.dev/sdk/policy"
)

// Policy is basic-auth v1.0.0.
var Policy = policy.Define(New)

// The policy's reasons.
const (
	// ReasonMissing is given for a request without credentials.
	ReasonMissing = "BASIC_CREDENTIALS_MISSING"
	// ReasonMalformed is given for credentials that are not Basic's.
	ReasonMalformed = "BASIC_CREDENTIALS_MALFORMED"
	// ReasonInvalid is given for an unknown user and for a wrong password alike.
	ReasonInvalid = "BASIC_CREDENTIALS_INVALID"
	// ReasonBusy is given where too many passwords wait to be hashed.
	ReasonBusy = "BASIC_BUSY"
)

// Params are the policy's parameters: see policy.yaml.
type Params struct {
	Users              policy.Secret   `json:"users"`
	Realm              string          `json:"realm"`
	ForwardCredentials bool            `json:"forwardCredentials"`
	UserHeader         string          `json:"userHeader"`
	Remember           policy.Duration `json:"remember"`
	Concurrency        int             `json:"concurrency"`
	Waiting            int             `json:"waiting"`
}

// maxRemember is the longest time for which a password is remembered.
const maxRemember = time.Hour

// maxFile bounds the user file in bytes: 100,000 users with names and hashes of common
// lengths.
const maxFile = 16 << 20

// BasicAuth checks user names and passwords.
type BasicAuth struct {
	params Params
	clock  policy.Clock
	// users are the present ones. A file that has become bad does not replace a good one.
	users  func() (*users, error)
	memory *memory
	gate   *gate

	missing, malformed, invalid, busy *policy.ImmediateResponse
}

// New reports every problem with its path. Users that stand in the parameters are
// checked at once, those of a file by Start.
func New(p Params, host policy.Host) (*BasicAuth, error) {
	var problems []error
	if p.Users.IsZero() {
		problems = append(problems, errors.New("users: give {file: PATH}, {env: NAME} or the text itself"))
	}
	if text, ok := p.Users.Inline(); ok {
		if _, err := parseUsers(text); err != nil {
			problems = append(problems, fmt.Errorf("users: %w", err))
		}
	}
	if d := p.Remember.Std(); d < 0 || d > maxRemember {
		problems = append(problems, fmt.Errorf("remember: %s is not between 0s and %s", p.Remember, maxRemember))
	}
	if p.UserHeader != "" {
		if err := policy.CheckHeaderEdit(p.UserHeader); err != nil {
			problems = append(problems, fmt.Errorf("userHeader: %q %w", p.UserHeader, err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	memory, err := newMemory(p.Remember.Std(), host.Random)
	if err != nil {
		return nil, err
	}
	challenge := policy.Header{Name: "www-authenticate", Value: fmt.Sprintf(`Basic realm="%s", charset="UTF-8"`, p.Realm)}
	return &BasicAuth{
		params: p, clock: host.Clock, users: open(p.Users, host), memory: memory, gate: newGate(p.Concurrency, p.Waiting),
		missing:   policy.Reject(401, ReasonMissing, "A user name and a password are required.", challenge),
		malformed: policy.Reject(401, ReasonMalformed, "The Authorization header has no Basic credentials.", challenge),
		invalid:   policy.Reject(401, ReasonInvalid, "The user name or the password is wrong.", challenge),
		busy:      policy.Reject(503, ReasonBusy, "Too many requests are being checked.", policy.Header{Name: "retry-after", Value: "1"}),
	}, nil
}

// OwnedRequestHeaders implements policy.HeaderOwner.
func (b *BasicAuth) OwnedRequestHeaders() []string {
	if b.params.UserHeader == "" {
		return nil
	}
	return []string{b.params.UserHeader}
}

// Start reads the users. It errs while they cannot be read.
func (b *BasicAuth) Start(context.Context) error {
	_, err := b.users()
	return err
}

// open returns where the users come from. A file is not read as a secret, which may have 64
// KiB: hashes may be many.
func open(ref policy.Secret, host policy.Host) func() (*users, error) {
	read := sync.OnceValues(func() (*users, error) {
		text, err := host.Secrets.Open(ref).Value()
		if err != nil {
			return nil, err
		}
		return parseUsers(text)
	})
	if ref.File != "" {
		read = policy.WatchFile(host, ref.File, func(content []byte) (*users, error) { return parseUsers(string(content)) }, policy.MaxFileSize(maxFile)).Value
	}
	return func() (*users, error) {
		u, err := read()
		if err != nil {
			return nil, fmt.Errorf("reading the users: %w", err)
		}
		return u, nil
	}
}

// OnRequestHeaders checks the credentials.
func (b *BasicAuth) OnRequestHeaders(ctx context.Context, req *policy.RequestContext) (policy.RequestAction, error) {
	value, ok := req.Headers().Lookup("authorization")
	if !ok || value == "" {
		return b.missing, nil
	}
	name, password, ok := credentials(value)
	if !ok || req.Headers().Count("authorization") != 1 {
		return b.malformed, nil
	}
	users, err := b.users()
	if err != nil {
		return nil, err
	}
	right, err := b.check(ctx, users, name, password)
	switch {
	case errors.Is(err, errBusy):
		return b.busy, nil
	case err != nil:
		return nil, err
	case !right:
		return b.invalid, nil
	}
	m := &policy.RequestMutation{Principal: &policy.Principal{Subject: name}}
	if !b.params.ForwardCredentials {
		m.Headers.Remove = []string{"authorization"}
	}
	if b.params.UserHeader != "" {
		if !policy.ValidHeaderValue(name) {
			return b.invalid, nil
		}
		m.Headers.Set = []policy.Header{{Name: b.params.UserHeader, Value: name}}
	}
	return m, nil
}

func (b *BasicAuth) check(ctx context.Context, users *users, name, password string) (bool, error) {
	// All of this takes as long for a user that is not known.
	h, known := users.find(name)
	now := b.clock.Now()
	if b.memory.has(name, password, h, now) && known {
		return true, nil
	}
	leave, err := b.gate.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	if !h.matches(password) || !known {
		return false, nil
	}
	b.memory.add(name, password, h, now)
	return true, nil
}

// credentials reads a value of Authorization (RFC 7617, section 2).
func credentials(value string) (name, password string, ok bool) {
	const scheme = "basic "
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", "", false
	}
	encoded := strings.TrimLeft(value[len(scheme):], " ")
	if len(encoded) > base64.StdEncoding.EncodedLen(maxName+1+maxPassword) {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || !utf8.Valid(decoded) {
		return "", "", false
	}
	name, password, ok = strings.Cut(string(decoded), ":")
	return name, password, ok && name != "" && len(name) <= maxName && len(password) <= maxPassword
}
