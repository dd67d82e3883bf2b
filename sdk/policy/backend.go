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

	"policyengine.dev/sdk/breaker"
)

// BackendRef is a server in parameters: the name of a backend in engine.yaml, such as
// "authz", or an http or https URL without user information, query and fragment.
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

// URL returns the URL, or nil if the reference is a name. The error describes the problem
// without the text itself, which may contain a credential.
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
		return nil, errors.New("the backend's URL has user information: use separate parameters for credentials")
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

// Backends are the servers that policies may call. Policies use it through [OpenBackend].
// Safe for concurrent use.
type Backends interface {
	// Target returns the target of the reference. It does no I/O. If there is no backend
	// with the name, the error lists the existing ones.
	Target(ref BackendRef) (BackendTarget, error)
}

// BackendTarget is a server with the limits for calls. A limit of zero means the default.
type BackendTarget struct {
	// Name identifies the backend in metrics, logs and spans.
	Name string
	// URL is the base URL of requests.
	URL *url.URL
	// Transport sends requests. Its idle connections are closed with the backend's last user.
	Transport http.RoundTripper
	// Timeout limits one request, in addition to the step's own deadline; 0 sets no limit.
	Timeout time.Duration
	// MaxConcurrent limits the requests in flight, 256 by default. MaxResponse limits the
	// body of a response in bytes, 1 MiB by default.
	MaxConcurrent int
	MaxResponse   int64
	// Failures is the number of failures in a row that opens the circuit breaker, 5 by
	// default. Pause is how long it stays open, 5 seconds by default.
	Failures int
	Pause    time.Duration
}

// The default limits of a [BackendTarget].
const (
	DefaultBackendConcurrent = 256
	DefaultBackendResponse   = 1 << 20
	DefaultBackendFailures   = 5
	DefaultBackendPause      = 5 * time.Second
)

// The errors of [Backend.Do] that are not the transport's. It wraps them.
var (
	// ErrBackendOpen: the circuit breaker is open, because the backend failed too often.
	ErrBackendOpen = errors.New("it failed too often in a row, and is not called for a while")
	// ErrBackendBusy: as many requests as are allowed are in flight.
	ErrBackendBusy = errors.New("too many requests to it are in flight")
	// ErrBackendTooLarge: the body of the response exceeds the limit.
	ErrBackendTooLarge = errors.New("its response is too large")
	// ErrBackendRedirect: the response is a redirect. Redirects are not followed.
	ErrBackendRedirect = errors.New("it answered with a redirect; redirects are not followed")
)

// Backend is a server that policies call while a request waits. Safe for concurrent use.
type Backend struct {
	target  BackendTarget
	clock   Clock
	logger  *slog.Logger
	slots   chan struct{}
	breaker breaker.Breaker
	metrics backendMetrics
}

// OpenBackend returns the backend of that reference. Call it in New. All instances of a
// policy version with the same backend share its connections, its limit on concurrency and
// its circuit breaker. It is closed with its last user.
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
		slots: make(chan struct{}, t.MaxConcurrent), breaker: breaker.Breaker{Most: t.Failures, Pause: t.Pause},
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

// BackendRequest is a request to a backend.
type BackendRequest struct {
	// Method defaults to GET without a body, and to POST with one.
	Method string
	// Path is appended to the path of the backend's URL. It is empty, or begins with a
	// slash and is already escaped (url.PathEscape). Segments "." and ".." are refused.
	Path string
	// Query is added.
	Query url.Values
	// Header of the request. Credentials of the request under decision are not sent unless
	// they are here.
	Header http.Header
	// Body is sent.
	Body []byte
}

// BackendResponse is a response of a backend, with any status.
type BackendResponse struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request and reads the whole response. It returns at the deadline of ctx, which
// is the step's, or after the backend's own timeout. v is the context that the policy's
// method got. It supplies the request ID and the trace, which are sent to the backend, and
// the trace shows the request as a span. v is nil outside of an exchange, as in Start.
//
// An error wraps context.DeadlineExceeded, [ErrBackendOpen], [ErrBackendBusy],
// [ErrBackendTooLarge] or [ErrBackendRedirect], or is the transport's. A response with any
// status other than a redirect is not an error. Errors of the transport, timeouts and
// statuses from 500 count as failures for the circuit breaker; a client that disconnects
// does not. If the policy returns the error, the operator's onError decides what happens to
// the request.
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

// guarded calls the backend within its limits.
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
	turn, ok := b.breaker.Allow(b.clock.Now())
	if !ok {
		return nil, backendOpen, ErrBackendOpen
	}
	// A panic in the transport counts as a failure.
	outcome := breaker.Failure
	defer func() { b.changed(b.breaker.Done(turn, outcome, b.clock.Now())) }()
	resp, result, err := b.ask(req)
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		outcome = breaker.Neither
		if err != nil {
			result = backendCanceled
		}
	case result == backendOK || result == backendRedirect || result == backendTooLarge:
		outcome = breaker.Success
	}
	return resp, result, err
}

// changed logs that the breaker opened or closed.
func (b *Backend) changed(change breaker.Change) {
	switch change {
	case breaker.Opened:
		b.metrics.open.Set(1)
		b.logger.Warn("a backend failed too often, and is not called for a while", slog.Duration("pause", b.target.Pause))
	case breaker.Closed:
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
