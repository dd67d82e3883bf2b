package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"

	"google.golang.org/grpc/credentials"

	"policyengine.dev/runtime/extproc/negotiate"
)

// handshaker is the server's transport credentials: what each connection has to show
// depends on the listener that it came by. grpc calls it on a goroutine of the
// connection's own, with a deadline.
type handshaker struct{ logger *slog.Logger }

var (
	_          credentials.TransportCredentials = handshaker{}
	errNotOurs                                  = errors.New("a connection that did not come through a listener of the engine")
	errServer                                   = errors.New("the engine is a server only")
)

// plainInfo is what is known of a connection without TLS.
type plainInfo struct{ credentials.CommonAuthInfo }

// AuthType implements credentials.AuthInfo.
func (plainInfo) AuthType() string { return "plaintext" }

// ServerHandshake implements credentials.TransportCredentials.
func (h handshaker) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := raw.(*conn)
	if !ok {
		return nil, nil, errNotOurs
	}
	secured, info, err := c.listener.handshake(c.Conn)
	if err == nil {
		secured = negotiate.Track(secured)
	}
	if err != nil {
		h.logger.Warn("a connection was refused", slog.String("listener", written(c.listener.Addr())),
			slog.String("peer", c.RemoteAddr().String()), slog.Any("error", err))
	}
	return secured, info, err
}

func (l *listener) handshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.LocalAddr().Network() == "unix" {
		if err := checkPeer(c, l.peers); err != nil {
			return nil, nil, err
		}
	}
	if l.tls == nil {
		return c, plainInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}, nil
	}
	secured := tls.Server(c, l.tls.server)
	if err := secured.Handshake(); err != nil {
		return nil, nil, err
	}
	return secured, credentials.TLSInfo{
		State:          secured.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (handshaker) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errServer
}

// Info implements credentials.TransportCredentials.
func (handshaker) Info() credentials.ProtocolInfo { return credentials.ProtocolInfo{} }

// Clone implements credentials.TransportCredentials.
func (h handshaker) Clone() credentials.TransportCredentials { return h }

// OverrideServerName implements credentials.TransportCredentials.
func (handshaker) OverrideServerName(string) error { return errServer }
