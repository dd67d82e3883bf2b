package cases

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// pipelining is how long all answers on one connection may take to come.
const pipelining = 30 * time.Second

// pipeline sends the request times over, one behind the other on one connection. Every
// response has to end where the next one begins, and the last one where the connection
// does: a byte too many or too few is an error here, or another answer than wanted.
func (r Request) pipeline(ctx context.Context, address string, times int) ([]*seen, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting to Envoy: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(pipelining)); err != nil {
		return nil, err
	}
	requests := make([]*http.Request, times)
	var b bytes.Buffer
	for i := range requests {
		request, err := r.build(ctx, address)
		if err != nil {
			return nil, fmt.Errorf("making the request: %w", err)
		}
		request.Close = i == times-1
		if err := request.Write(&b); err != nil {
			return nil, fmt.Errorf("writing the request: %w", err)
		}
		requests[i] = request
	}
	if _, err := c.Write(b.Bytes()); err != nil {
		return nil, fmt.Errorf("sending the requests: %w", err)
	}
	b.Reset()
	if _, err := b.ReadFrom(c); err != nil {
		return nil, fmt.Errorf("receiving the responses; so far there is %s: %w", shown(b.Bytes()), err)
	}
	whole := bytes.Clone(b.Bytes())
	from := bufio.NewReader(&b)
	all := make([]*seen, times)
	for i, request := range requests {
		response, err := http.ReadResponse(from, request)
		if err != nil {
			return nil, fmt.Errorf("reading response %d of %s: %w", i+1, shown(whole), err)
		}
		s := &seen{status: response.StatusCode, header: response.Header}
		// The last response could end with the connection; none is to.
		if response.ContentLength < 0 && request.Method != http.MethodHead && len(response.TransferEncoding) == 0 {
			s.broken = errors.New("nothing says where the response ends")
		} else {
			s.body, s.broken = io.ReadAll(response.Body)
		}
		s.trailer = response.Trailer
		if s.broken != nil && i < times-1 {
			return nil, fmt.Errorf("reading the body of response %d of %s: %w", i+1, shown(whole), s.broken)
		}
		all[i] = s
	}
	if rest, _ := io.ReadAll(from); len(rest) > 0 {
		return nil, fmt.Errorf("%s comes behind the last of the responses %s", shown(rest), shown(whole))
	}
	return all, nil
}
