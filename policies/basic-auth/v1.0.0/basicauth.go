// Package basicauth lets requests pass that carry a known user name and password, by
// HTTP Basic authentication (RFC 7617).
package basicauth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
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

// BasicAuth checks user names and passwords.
type BasicAuth struct {
	params Params
	clock  policy.Clock
	logger *slog.Logger
	source policy.SecretSource
	// parsed is the latest file, and text what it was parsed from.
	parsed atomic.Pointer[parsedUsers]
	memory *memory
	gate   *gate

	missing, malformed, invalid, busy *policy.ImmediateResponse
}

type parsedUsers struct {
	text  string
	users *users
	err   error
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
		params: p, clock: host.Clock, logger: host.Logger, source: host.Secrets.Open(p.Users), memory: memory, gate: newGate(p.Concurrency, p.Waiting),
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

// users are the present ones. A file that has become bad does not replace a good one.
func (b *BasicAuth) users() (*users, error) {
	text, err := b.source.Value()
	if err != nil {
		return nil, fmt.Errorf("reading the users: %w", err)
	}
	last := b.parsed.Load()
	if last != nil && last.text == text {
		return last.users, last.err
	}
	next := &parsedUsers{text: text}
	if next.users, err = parseUsers(text); err != nil {
		next.err = fmt.Errorf("reading the users: %w", err)
		if last != nil && last.users != nil {
			b.logger.Error("the user file is invalid; the last valid one stays in use", slog.Any("error", err))
			next.users, next.err = last.users, nil
		}
	}
	b.parsed.Store(next)
	return next.users, next.err
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
