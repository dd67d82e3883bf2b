package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// BackendRef says in parameters which server a policy asks: the name of a backend that
// engine.yaml declares, such as "authz", or a URL with http or https, without user
// information, query and fragment.
type BackendRef string

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *BackendRef) UnmarshalText(text []byte) error {
	ref := BackendRef(text)
	if _, err := ref.URL(); err != nil {
		return err
	}
	*b = ref
	return nil
}

// URL returns the URL, or nil if the reference is a name. The error says what is wrong with
// it, without the text itself, which may hold a credential.
func (b BackendRef) URL() (*url.URL, error) {
	if !strings.ContainsAny(string(b), ":/") {
		return nil, b.checkName()
	}
	u, err := url.Parse(string(b))
	switch {
	case err != nil:
		return nil, errors.New("the backend is neither a name nor a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Hostname() == "":
		return nil, errors.New("the backend is not a URL with http or https and a host")
	case u.User != nil:
		return nil, errors.New("the backend's URL has user information: give credentials as parameters of their own")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the backend's URL has a query or a fragment: it is a base that requests add to")
	}
	return u, nil
}

func (b BackendRef) checkName() error {
	for i := 0; i < len(b); i++ {
		if c := b[i]; (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '-') {
			return errors.New("the backend is neither a name of lower case letters, digits and hyphens nor a URL")
		}
	}
	if b == "" || len(b) > 63 {
		return errors.New("the backend's name has not 1 to 63 characters")
	}
	return nil
}

// Backends knows the servers that policies may ask. Policies use it through [OpenBackend].
// Safe for concurrent use.
type Backends interface {
	// Target returns what the reference leads to. It does no I/O. The error names the
	// backends that there are, if there is none of that name.
	Target(ref BackendRef) (BackendTarget, error)
}

// BackendTarget is a server and the bounds on asking it. Zero bounds are the defaults.
type BackendTarget struct {
	// Name stands for the backend in metrics, logs and spans.
	Name string
	// URL is what requests add to.
	URL *url.URL
	// Transport sends requests. Its idle connections are closed with the backend's last user.
	Transport http.RoundTripper
	// Timeout bounds one request, beside the step's own deadline; 0 leaves it at that.
	Timeout time.Duration
	// MaxConcurrent bounds the requests at a time, 256 by default, and MaxResponse a
	// response's body in bytes, 1 MiB by default.
	MaxConcurrent int
	MaxResponse   int64
	// Failures is after how many failures in a row the backend is not asked for a while, 5
	// by default, and Pause for how long, 5 seconds by default.
	Failures int
	Pause    time.Duration
}

// The default bounds of a [BackendTarget].
const (
	DefaultBackendConcurrent = 256
	DefaultBackendResponse   = 1 << 20
	DefaultBackendFailures   = 5
	DefaultBackendPause      = 5 * time.Second
)

// Why a backend was not asked, or its response does not count. [Backend.Do] wraps them.
var (
	// ErrBackendOpen: the circuit breaker is open, since the backend has failed too often.
	ErrBackendOpen = errors.New("it is not asked for a while, having failed too often in a row")
	// ErrBackendBusy: as many requests as are allowed are in flight.
	ErrBackendBusy = errors.New("too many requests to it are in flight")
	// ErrBackendTooLarge: the response's body is over the limit.
	ErrBackendTooLarge = errors.New("its response is too large")
	// ErrBackendRedirect: the response is a redirect. None is followed.
	ErrBackendRedirect = errors.New("it answered with a redirect, and none is followed")
)

// Backend is a server that policies ask while a request waits. Safe for concurrent use.
type Backend struct {
	target  BackendTarget
	clock   Clock
	logger  *slog.Logger
	slots   chan struct{}
	breaker breaker
	metrics backendMetrics
}

// OpenBackend returns the backend of that reference. Call it in New. All instances of a policy
// version that name the same backend share it, with its connections, its bound on concurrency
// and its circuit breaker; it closes with its last user.
//
// Its metrics are backend_requests_total, by backend and result, backend_seconds, and
// backend_open, which is 1 while the circuit breaker is open.
func OpenBackend(host Host, ref BackendRef) (*Backend, error) {
	return Share(host, "backend "+string(ref), func(host Host) (*Backend, error) {
		if host.Backends == nil {
			return nil, errors.New("the host has no backends")
		}
		target, err := host.Backends.Target(ref)
		if err != nil {
			return nil, err
		}
		return newBackend(host, target), nil
	})
}

func newBackend(host Host, t BackendTarget) *Backend {
	if t.MaxConcurrent <= 0 {
		t.MaxConcurrent = DefaultBackendConcurrent
	}
	if t.MaxResponse <= 0 {
		t.MaxResponse = DefaultBackendResponse
	}
	if t.Failures <= 0 {
		t.Failures = DefaultBackendFailures
	}
	if t.Pause <= 0 {
		t.Pause = DefaultBackendPause
	}
	return &Backend{
		target: t, clock: host.Clock, logger: host.Logger.With(slog.String("backend", t.Name)),
		slots: make(chan struct{}, t.MaxConcurrent), breaker: breaker{most: t.Failures, pause: t.Pause},
		metrics: newBackendMetrics(host.Metrics, t.Name),
	}
}

// Close closes idle connections. The runtime calls it after the last user's own Close.
func (b *Backend) Close() error {
	if c, ok := b.target.Transport.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	return nil
}

// BackendRequest is a question to a backend.
type BackendRequest struct {
	// Method is GET if it is empty and there is no body, and POST if there is one.
	Method string
	// Path is added to the path of the backend's URL. It is empty, or begins with a slash and is
	// escaped already (url.PathEscape); segments "." and ".." are refused.
	Path string
	// Query is added.
	Query url.Values
	// Header is sent. Credentials of the request that the policy decides about are not
	// passed on unless they are here.
	Header http.Header
	// Body is sent.
	Body []byte
}

// BackendResponse is a backend's answer, whatever its status.
type BackendResponse struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do asks the backend and reads the whole response. It returns at ctx's deadline, which is the
// step's, or after the backend's own timeout. v is the context that the policy's method got: the
// backend is told its request id and its trace, and the trace shows the request as a span; nil
// outside of an exchange, as in Start.
//
// An error wraps context.DeadlineExceeded, or one of [ErrBackendOpen], [ErrBackendBusy],
// [ErrBackendTooLarge] and [ErrBackendRedirect], or is the transport's. A response of any status other
// than a redirect is no error. Errors of the transport, timeouts and statuses from 500 on count
// as failures for the circuit breaker; a client that went away does not. A policy that returns
// the error leaves it to the operator's onError what becomes of the request.
func (b *Backend) Do(ctx context.Context, v View, r BackendRequest) (*BackendResponse, error) {
	var span Span
	requestID := ""
	if v != nil {
		span = v.view().startSpan("backend "+b.target.Name, true, []slog.Attr{slog.String("server.address", b.target.URL.Host)})
		requestID = v.RequestID()
	}
	began := b.clock.Now()
	resp, result, err := b.guarded(ctx, &r, span, requestID)
	b.metrics.observe(result, b.clock.Now().Sub(began))
	if resp != nil {
		span.Annotate(slog.Int("http.response.status_code", resp.Status))
	}
	if err != nil {
		err = fmt.Errorf("asking the backend %s: %w", b.target.Name, err)
	}
	span.End(err)
	return resp, err
}

// guarded asks the backend within its bounds.
func (b *Backend) guarded(ctx context.Context, r *BackendRequest, span Span, requestID string) (*BackendResponse, backendResult, error) {
	req, err := b.request(ctx, r, span, requestID)
	if err != nil {
		return nil, backendInvalid, err
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	default:
		return nil, backendBusy, ErrBackendBusy
	}
	turn, ok := b.breaker.allow(b.clock.Now())
	if !ok {
		return nil, backendOpen, ErrBackendOpen
	}
	// Should the transport panic, that is a failure.
	outcome := breakerFailure
	defer func() { b.changed(b.breaker.done(turn, outcome, b.clock.Now())) }()
	resp, result, err := b.ask(req)
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		outcome = breakerNeither
		if err != nil {
			result = backendCanceled
		}
	case result == backendOK || result == backendRedirect || result == backendTooLarge:
		outcome = breakerSuccess
	}
	return resp, result, err
}

// changed tells of a breaker that has opened or closed.
func (b *Backend) changed(change breakerChange) {
	switch change {
	case breakerOpened:
		b.metrics.open.Set(1)
		b.logger.Warn("a backend has failed too often and is not asked for a while", slog.Duration("pause", b.target.Pause))
	case breakerClosed:
		b.metrics.open.Set(0)
		b.logger.Info("a backend answers again")
	}
}

// ask sends the request and reads the response.
func (b *Backend) ask(req *http.Request) (*BackendResponse, backendResult, error) {
	if b.target.Timeout > 0 {
		ctx, cancel := context.WithTimeout(req.Context(), b.target.Timeout)
		defer cancel()
		req = req.WithContext(ctx)
	}
	// Not by an http.Client, which follows redirects.
	resp, err := b.target.Transport.RoundTrip(req)
	if err != nil {
		return nil, failureOf(err), err
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return nil, backendRedirect, ErrBackendRedirect
	}
	if resp.ContentLength > b.target.MaxResponse {
		return nil, backendTooLarge, ErrBackendTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, b.target.MaxResponse+1))
	if err != nil {
		return nil, failureOf(err), fmt.Errorf("reading the response: %w", err)
	}
	if int64(len(body)) > b.target.MaxResponse {
		return nil, backendTooLarge, ErrBackendTooLarge
	}
	result := backendOK
	if resp.StatusCode >= http.StatusInternalServerError {
		result = backendStatus
	}
	return &BackendResponse{Status: resp.StatusCode, Header: resp.Header, Body: body}, result, nil
}

func failureOf(err error) backendResult {
	if errors.Is(err, context.DeadlineExceeded) {
		return backendTimeout
	}
	return backendError
}

// request makes the HTTP request.
func (b *Backend) request(ctx context.Context, r *BackendRequest, span Span, requestID string) (*http.Request, error) {
	target := *b.target.URL
	if r.Path != "" {
		if err := addPath(&target, r.Path); err != nil {
			return nil, err
		}
	}
	target.RawQuery = r.Query.Encode()
	method := r.Method
	if method == "" && len(r.Body) > 0 {
		method = http.MethodPost
	}
	var body io.Reader
	if len(r.Body) > 0 {
		body = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		// The error may show the URL.
		return nil, errors.New("the policy's request is not a valid HTTP request")
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	if requestID != "" {
		req.Header.Set("X-Request-Id", requestID)
	}
	if parent := span.TraceParent(); parent != "" {
		req.Header.Set("Traceparent", parent)
		if span.trace.State != "" {
			req.Header.Set("Tracestate", span.trace.State)
		}
	}
	return req, nil
}

func addPath(u *url.URL, path string) error {
	const wrong = "the path of a request to a backend has to begin with a slash, be escaped, and have no segment . or .."
	if path[0] != '/' || strings.ContainsAny(path, "?#\\") {
		return errors.New(wrong)
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil || plain == "." || plain == ".." || strings.ContainsAny(plain, "/\\") && (strings.Contains(plain, "..")) {
			return errors.New(wrong)
		}
	}
	escaped := strings.TrimSuffix(u.EscapedPath(), "/") + path
	plain, err := url.PathUnescape(escaped)
	if err != nil {
		return errors.New(wrong)
	}
	u.Path, u.RawPath = plain, escaped
	return nil
}
