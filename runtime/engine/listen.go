package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"policyengine.dev/runtime/config"
)

// listener is one place where Envoy connects to. It hands on what the handshake
// needs to know with each connection.
type listener struct {
	net.Listener
	tls   *certificates
	peers config.Peers
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, listener: l}, nil
}

// conn is a connection that no handshake has been made on.
type conn struct {
	net.Conn
	listener *listener
}

// listen opens every listener and the admin's, or none.
func (e *Engine) listen() error {
	var problems []error
	for _, c := range e.static.Listeners {
		l, err := open(c, e.certificates)
		if err != nil {
			problems = append(problems, fmt.Errorf("listening on %s: %w", c.Address, err))
			continue
		}
		e.serving = append(e.serving, l)
	}
	pages, err := listenOn(e.static.Admin, 0o600)
	if err != nil {
		problems = append(problems, fmt.Errorf("listening on %s for the admin pages: %w", e.static.Admin, err))
	}
	e.pages = pages
	if len(problems) > 0 {
		e.closeListeners()
		return errors.Join(problems...)
	}
	return nil
}

func (e *Engine) closeListeners() {
	for _, l := range e.serving {
		l.Close()
	}
	if e.pages != nil {
		e.pages.Close()
	}
}

// written is an address as engine.yaml has it.
func written(a net.Addr) string {
	return config.Address{Network: a.Network(), Address: a.String()}.String()
}

func (e *Engine) certificates(t *config.TLS) (*certificates, error) {
	return newCertificates(t, e.logger, time.Now)
}

func open(c config.Listener, certs func(*config.TLS) (*certificates, error)) (*listener, error) {
	l := &listener{peers: c.Peers}
	if err := canCheckPeers(c.Peers); err != nil {
		return nil, err
	}
	if c.TLS != nil {
		var err error
		if l.tls, err = certs(c.TLS); err != nil {
			return nil, err
		}
	}
	var err error
	l.Listener, err = listenOn(c.Address, c.Mode)
	return l, err
}

func listenOn(a config.Address, mode fs.FileMode) (net.Listener, error) {
	if a.Network != "unix" {
		return net.Listen(a.Network, a.Address)
	}
	if err := removeStale(a.Address); err != nil {
		return nil, err
	}
	if mode == 0 {
		mode = 0o660
	}
	// The socket must not be open to more than mode says even for a moment.
	restore := restrictNewFiles(mode)
	l, err := net.Listen(a.Network, a.Address)
	restore()
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(a.Address, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// staleTimeout bounds the attempt to find somebody behind a socket.
const staleTimeout = time.Second

// removeStale removes a socket that a process has left behind. One that somebody
// serves, or anything that is no socket, is an error.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s is there and no socket", path)
	}
	if c, err := net.DialTimeout("unix", path, staleTimeout); err == nil {
		c.Close()
		return fmt.Errorf("another process listens on %s", path)
	}
	return os.Remove(path)
}
