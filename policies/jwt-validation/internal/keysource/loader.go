package keysource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

// MaxBytes is the size of the largest key set that is read.
const MaxBytes = 512 << 10

// maxRedirects is the number of redirects that are followed.
const maxRedirects = 3

// Loader gets a JWK Set from where it is. It has to return when ctx ends.
type Loader func(ctx context.Context) ([]byte, error)

// CheckURL says why raw is not the address of a key set: it has to be an absolute
// https URL without user information or fragment. Over plain http anybody on the
// way could put their own keys in.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case u.Scheme != "https":
		return fmt.Errorf("the scheme is %q; it must be https, because otherwise anybody on the network path could replace the keys", u.Scheme)
	case u.Host == "":
		return errors.New("no host")
	case u.User != nil:
		return errors.New("a user name or password, which belongs into no URL")
	case u.Fragment != "":
		return errors.New("a fragment, which no server sees")
	}
	return nil
}

// FromURL loads from an address that [CheckURL] takes. client's own bounds hold;
// redirects to anything but https are refused besides.
func FromURL(client *http.Client, address string) Loader {
	c := *client
	own := c.CheckRedirect
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.URL.Scheme != "https" {
			return errors.New("a redirect to something other than https")
		}
		if len(via) > maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if own != nil {
			return own(req, via)
		}
		return nil
	}
	return func(ctx context.Context) ([]byte, error) {
		data, err := get(ctx, &c, address)
		if err != nil {
			return nil, fmt.Errorf("fetching the key set: %w", withoutURL(err))
		}
		return data, nil
	}
}

func get(ctx context.Context, c *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %d", resp.StatusCode)
	}
	return readAll(resp.Body)
}

// withoutURL takes the address out of an error: its query may have a secret in it.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// FromFile loads from a file.
func FromFile(path string) Loader {
	return func(context.Context) ([]byte, error) {
		data, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading the key set: %w", err)
		}
		return data, nil
	}
}

func readFile(path string) ([]byte, error) {
	// Opening a pipe would wait for its writer, and no context ends that.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readAll(f)
}

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("more than %d bytes", MaxBytes)
	}
	return data, nil
}
