package host

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// HTTPTimeout bounds one exchange of the policies' HTTP client, from the
	// connection to the last byte.
	HTTPTimeout = 10 * time.Second
	// HTTPMaxBody bounds a response's body in bytes.
	HTTPMaxBody = 4 << 20
	// HTTPMaxHeaders bounds a response's headers in bytes.
	HTTPMaxHeaders = 64 << 10
	// HTTPMaxRedirects is how often the client follows a redirect.
	HTTPMaxRedirects = 3
)

var errBodyTooLarge = fmt.Errorf("the response's body is larger than %d bytes", HTTPMaxBody)

// NewHTTPClient returns the client that policies share: it gives up after
// [HTTPTimeout], follows few redirects and none from https to anything else, bounds
// what it reads, and honours the process's proxy variables. Safe for concurrent use.
func NewHTTPClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxResponseHeaderBytes = HTTPMaxHeaders
	t.MaxIdleConnsPerHost = 4
	t.MaxConnsPerHost = 16
	t.ResponseHeaderTimeout = HTTPTimeout
	return &http.Client{
		Transport:     bounded{t},
		Timeout:       HTTPTimeout,
		CheckRedirect: checkRedirect,
	}
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > HTTPMaxRedirects {
		return fmt.Errorf("more than %d redirects", HTTPMaxRedirects)
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("a redirect leads from https to " + req.URL.Scheme)
	}
	return nil
}

// bounded limits the bodies of responses. A body that is cut short would pass for a
// whole one, so that reading over the limit is an error.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.ContentLength > HTTPMaxBody {
		return nil, errors.Join(errBodyTooLarge, resp.Body.Close())
	}
	resp.Body = &boundedBody{resp.Body, HTTPMaxBody}
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (b bounded) CloseIdleConnections() {
	if c, ok := b.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errBodyTooLarge
	}
	// One byte more than is allowed tells a body at the limit from one over it.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, errBodyTooLarge
	}
	return n, err
}
