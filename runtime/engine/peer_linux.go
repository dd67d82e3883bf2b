package engine

import (
	"fmt"
	"io/fs"
	"net"
	"slices"
	"syscall"

	"policyengine.dev/runtime/config"
)

// canCheckPeers says whether this system tells who connects.
func canCheckPeers(config.Peers) error { return nil }

// checkPeer refuses a connection over a Unix socket whose other end is not among
// those that may connect (unix(7), SO_PEERCRED).
func checkPeer(c net.Conn, peers config.Peers) error {
	if len(peers.UIDs)+len(peers.GIDs) == 0 {
		return nil
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("%T has no peer credentials", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return err
	}
	var cred *syscall.Ucred
	var got error
	if err := raw.Control(func(fd uintptr) {
		cred, got = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if got != nil {
		return fmt.Errorf("reading the peer's credentials: %w", got)
	}
	if slices.Contains(peers.UIDs, cred.Uid) || slices.Contains(peers.GIDs, cred.Gid) {
		return nil
	}
	return fmt.Errorf("the process %d of user %d and group %d may not connect", cred.Pid, cred.Uid, cred.Gid)
}

// restrictNewFiles keeps files that are made until restore is called from having
// permissions that mode lacks.
func restrictNewFiles(mode fs.FileMode) (restore func()) {
	old := syscall.Umask(int(^mode.Perm() & 0o777))
	return func() { syscall.Umask(old) }
}
