package lifecycle_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"
)

// TestWhoMayConnectByAUnixSocket shows that an Envoy whose user or group is among a
// socket's peers is served, and that any other fails its requests although the socket's
// mode lets it in; and that the mode is the one of engine.yaml.
func TestWhoMayConnectByAUnixSocket(t *testing.T) {
	t.Parallel()
	uid, gid := os.Getuid(), os.Getgid()
	for name, c := range map[string]struct {
		peers  map[string]any
		served bool
	}{
		"nobody is named":    {map[string]any{}, true},
		"the user is named":  {map[string]any{"uids": []any{uid + 1, uid}}, true},
		"the group is named": {map[string]any{"uids": []any{uid + 1}, "gids": []any{gid}}, true},
		"another user is":    {map[string]any{"uids": []any{uid + 1}}, false},
		"another group is":   {map[string]any{"gids": []any{gid + 1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			const mode = fs.FileMode(0o600)
			path := s.dir + "/only/envoy.sock"
			e := s.engine("only", map[string]any{"listeners": []any{
				map[string]any{"address": "unix:" + s.dir + "/only/engine.sock"},
				map[string]any{"address": "unix:" + path, "mode": "0600", "peers": c.peers},
			}})
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
				t.Errorf("the socket's mode is %v, %v; want %v", info.Mode(), err, mode)
			}
			s.front("unix:"+path, nil)
			a := s.get("/app")
			if err := a.signed(); c.served && err != nil {
				t.Error(err)
			}
			if err := s.refused(a); !c.served && err != nil {
				t.Error(err)
			}
			if !c.served {
				logs(t, e, 0, "may not connect")
			} else if strings.Contains(e.Log(), "may not connect") {
				t.Error("the engine has refused somebody")
			}
		})
	}
}
