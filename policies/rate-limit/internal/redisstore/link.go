package redisstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"policyengine.dev/sdk/policy"
)

// link is the way to the servers: how they are dialled, and what they are told.
type link struct {
	params Params
	client redis.UniversalClient
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	// password and sentinel are nil where there is none.
	password, sentinel policy.SecretSource
	tls                *tlsFiles
}

// tlsFiles are the files of TLS, read again when they change.
type tlsFiles struct {
	serverName  string
	ca          *policy.File[*x509.CertPool]
	certificate *policy.File[[]byte]
	key         policy.SecretSource
}

var silence sync.Once

// noLog keeps the client from writing to the process's standard error.
type noLog struct{}

// Printf implements the client's logger.
func (noLog) Printf(context.Context, string, ...any) {}

func newLink(h policy.Host, p Params) *link {
	silence.Do(func() { redis.SetLogger(noLog{}) })
	l := &link{params: p, dial: h.Dial}
	if !p.Password.IsZero() {
		l.password = h.Secrets.Open(p.Password)
	}
	if !p.Sentinel.Password.IsZero() {
		l.sentinel = h.Secrets.Open(p.Sentinel.Password)
	}
	if p.TLS != nil {
		l.tls = newTLS(h, *p.TLS)
	}
	l.client = l.newClient()
	return l
}

// newClient makes the client, which connects when it is used. Nothing is tried again:
// whether a script that failed has charged is not known.
func (l *link) newClient() redis.UniversalClient {
	p := l.params
	if p.Mode != modeCluster {
		dial := l.connect
		if p.Mode == modeSentinel {
			dial = l.connectPrimary
		}
		o := l.options(p.Addresses[0], p.Connections, dial, l.credentials(p.Username, l.password))
		o.DB = p.Database
		return redis.NewClient(o)
	}
	timeout, pool := p.Timeout.Std(), max(1, p.Connections)
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: p.Addresses, Dialer: always(l.connect), ClusterSlots: l.slots, CredentialsProviderContext: l.credentials(p.Username, l.password), Protocol: 2,
		MaxRetries: -1, DialTimeout: timeout, DialerRetries: 1, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout,
		ContextTimeoutEnabled: true, PoolSize: pool, MaxActiveConns: pool, DisableIdentity: true, DisableRoutingPolicies: true, MaintNotificationsConfig: quiet,
	})
}

type (
	dialer      = func(ctx context.Context, network, address string) (net.Conn, error)
	credentials = func(ctx context.Context) (username, password string, err error)
)

// quiet has servers not announce their maintenance.
var quiet = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

// options are those of the client for one server.
func (l *link) options(address string, connections int, dial dialer, c credentials) *redis.Options {
	timeout, pool := l.params.Timeout.Std(), max(1, connections)
	return &redis.Options{
		Addr: address, Dialer: always(dial), CredentialsProviderContext: c, Protocol: 2,
		MaxRetries: -1, DialTimeout: timeout, DialerRetries: 1, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout,
		ContextTimeoutEnabled: true, PoolSize: pool, MaxActiveConns: pool, DisableIdentity: true, MaintNotificationsConfig: quiet,
	}
}

// credentials are read for each new connection, so that a changed password needs no reload.
func (l *link) credentials(username string, source policy.SecretSource) credentials {
	return func(context.Context) (string, string, error) {
		if source == nil {
			return "", "", nil
		}
		password, err := source.Value()
		if err != nil {
			return "", "", &linkError{"reading the password", err}
		}
		return username, password, nil
	}
}

// always has a dialer return a connection that gives the error in place of the error. After
// some errors of a dialer the client's pool would go on dialling in the background, also
// after it is closed.
func always(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return broken{err}, nil
		}
		return c, nil
	}
}

// broken is a connection that there never was.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error)       { return 0, b.err }
func (b broken) Write([]byte) (int, error)      { return 0, b.err }
func (broken) Close() error                     { return nil }
func (broken) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (broken) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (broken) SetDeadline(time.Time) error      { return nil }
func (broken) SetReadDeadline(time.Time) error  { return nil }
func (broken) SetWriteDeadline(time.Time) error { return nil }

// connect dials a server, and bounds what it says.
func (l *link) connect(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := l.dial(ctx, network, address)
	if err != nil {
		return nil, &linkError{"connecting", err}
	}
	if l.tls == nil {
		return guarded(c), nil
	}
	config, err := l.tls.config(address)
	if err != nil {
		_ = c.Close()
		return nil, &linkError{"preparing TLS", err}
	}
	secure := tls.Client(c, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, &linkError{"agreeing on TLS", err}
	}
	return guarded(secure), nil
}

// check reads the secrets and files once.
func (l *link) check() error {
	var problems []error
	for name, s := range map[string]policy.SecretSource{"redis.password": l.password, "redis.sentinel.password": l.sentinel} {
		if s == nil {
			continue
		}
		if _, err := s.Value(); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	if l.tls != nil {
		if _, err := l.tls.config("localhost:1"); err != nil {
			problems = append(problems, fmt.Errorf("redis.tls: %w", err))
		}
	}
	return errors.Join(problems...)
}

func newTLS(h policy.Host, p TLS) *tlsFiles {
	t := &tlsFiles{serverName: p.ServerName}
	if p.CAFile != "" {
		t.ca = policy.WatchFile(h, p.CAFile, func(pem []byte) (*x509.CertPool, error) {
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM(pem) {
				return nil, errors.New("it has no certificate in PEM")
			}
			return pool, nil
		})
	}
	if p.CertificateFile != "" {
		t.certificate = policy.WatchFile(h, p.CertificateFile, func(pem []byte) ([]byte, error) { return pem, nil })
		t.key = h.Secrets.Open(p.Key)
	}
	return t
}

// config is made for each connection, of what the files say then.
func (t *tlsFiles) config(address string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.serverName}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(address)
	}
	var err error
	if t.ca != nil {
		if c.RootCAs, err = t.ca.Value(); err != nil {
			return nil, err
		}
	}
	if t.certificate != nil {
		certificate, err := t.certificate.Value()
		if err != nil {
			return nil, err
		}
		key, err := t.key.Value()
		if err != nil {
			return nil, err
		}
		own, err := tls.X509KeyPair(certificate, []byte(key))
		if err != nil {
			// The error may quote the files.
			return nil, errors.New("the certificate and its key do not go together")
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}

// linkError is an error on this side of the connection, whose text is safe to show.
type linkError struct {
	doing string
	err   error
}

func (e *linkError) Error() string { return e.doing + ": " + e.err.Error() }
func (e *linkError) Unwrap() error { return e.err }

var (
	errNoScript = errors.New("the server does not have the script")
	// errState: the state of a key is not what the script writes.
	errState = errors.New("the state of a key is not readable")
	// errBroken stands for errors of the connection and of the client, whose texts may
	// have something of what was sent.
	errBroken = errors.New("the connection to Redis is broken")
)

// plain returns an error without any text of the server's, save an error code. A server's
// text may repeat what it was sent, a password among it.
func plain(err error) error {
	var mine *linkError
	var answer redis.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mine):
		return fmt.Errorf("asking Redis: %w", mine)
	case errors.Is(err, errNonsense):
		return errNonsense
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("asking Redis: %w", context.DeadlineExceeded)
	case errors.Is(err, redis.Nil):
		return errNonsense
	case errors.As(err, &answer):
		code := errorCode(answer.Error())
		switch {
		case code == "NOSCRIPT":
			return errNoScript
		case code == "WRONGTYPE", strings.Contains(answer.Error(), " WRONGTYPE "): // before Redis 7 it stands behind ERR
			return errState
		}
		return fmt.Errorf("Redis answers with the error %s", code)
	}
	return errBroken
}

// errorCode is the first word of a server's error if it looks like a code.
func errorCode(text string) string {
	code, _, _ := strings.Cut(text, " ")
	if len(code) > 20 || code == "" || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return "(without a code)"
	}
	return code
}
