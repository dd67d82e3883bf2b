// Package upstreamtoken adds a bearer token to requests to the upstream. It fetches and
// renews the token outside of the request path.
package upstreamtoken

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"policyengine.dev/sdk/policy"
)

// Policy is upstream-token v1.0.0.
var Policy = policy.Define(New)

// Params are the policy's parameters, as policy.yaml describes them.
type Params struct {
	URL          string        `json:"url"`
	ClientID     string        `json:"clientID"`
	ClientSecret policy.Secret `json:"clientSecret"`
}

// UpstreamToken holds the current token.
type UpstreamToken struct {
	params   Params
	host     policy.Host
	secret   policy.SecretSource
	failures policy.Counter

	token   atomic.Pointer[token]
	stop    context.CancelFunc
	stopped context.Context
	renewal sync.Once
	running sync.WaitGroup
}

type token struct {
	action  *policy.RequestMutation
	expires time.Time
}

// New does no I/O: Start fetches the first token.
func New(p Params, host policy.Host) (*UpstreamToken, error) {
	u := &UpstreamToken{
		params: p, host: host,
		secret:   host.Secrets.Open(p.ClientSecret),
		failures: host.Metrics.Counter("token_fetch_failures_total", "Tokens that could not be fetched."),
	}
	u.stopped, u.stop = context.WithCancel(context.Background())
	return u, nil
}

// Start fetches the first token, and starts its renewal. The runtime calls it before the
// configuration takes effect, and again later if it fails.
func (u *UpstreamToken) Start(ctx context.Context) error {
	if u.token.Load() == nil {
		if err := u.fetch(ctx); err != nil {
			return err
		}
	}
	u.renewal.Do(func() { u.running.Go(u.renew) })
	return nil
}

// Adopt takes over the token of an instance that has the same parameters.
func (u *UpstreamToken) Adopt(old any) {
	o, ok := old.(*UpstreamToken)
	if ok && o.params.URL == u.params.URL && o.params.ClientID == u.params.ClientID && o.params.ClientSecret.Equal(u.params.ClientSecret) {
		u.token.Store(o.token.Load())
	}
}

// Close stops the renewal and waits for its end.
func (u *UpstreamToken) Close() error {
	u.stop()
	u.running.Wait()
	return nil
}

// OnRequestHeaders sets the token. Without a valid token it returns an error.
func (u *UpstreamToken) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	t := u.token.Load()
	if t == nil || !u.host.Clock.Now().Before(t.expires) {
		return nil, errors.New("there is no valid token for the upstream")
	}
	return t.action, nil
}

// renew fetches a token after four fifths of the lifetime of the last one.
func (u *UpstreamToken) renew() {
	for {
		pause := u.token.Load().expires.Sub(u.host.Clock.Now()) * 4 / 5
		timer := u.host.Clock.NewTimer(max(pause, time.Second))
		select {
		case <-u.stopped.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
		if err := u.fetch(u.stopped); err != nil {
			u.failures.Add(1)
			u.host.Logger.Warn("renewing the upstream's token", "error", err)
		}
	}
}

func (u *UpstreamToken) fetch(ctx context.Context) error {
	secret, err := u.secret.Value()
	if err != nil {
		return err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {u.params.ClientID}, "client_secret": {secret}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.params.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("asking for a token: %w", err)
	}
	req.Header.Set("content-type", "application/x-www-form-urlencoded")
	resp, err := u.host.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("asking for a token: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking for a token: the answer's status is %d", resp.StatusCode)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&answer); err != nil {
		return errors.New("reading a token: the answer is not JSON") // which might hold the token
	}
	if answer.AccessToken == "" || !policy.ValidHeaderValue(answer.AccessToken) || answer.ExpiresIn < 1 || answer.ExpiresIn > 86400 {
		return errors.New("reading a token: access_token or expires_in cannot be used")
	}
	header := policy.Header{Name: "authorization", Value: "Bearer " + answer.AccessToken}
	u.token.Store(&token{
		action:  &policy.RequestMutation{Headers: policy.HeaderMutation{Set: []policy.Header{header}}},
		expires: u.host.Clock.Now().Add(time.Duration(answer.ExpiresIn) * time.Second),
	})
	return nil
}
