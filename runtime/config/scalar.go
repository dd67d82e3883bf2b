package config

import (
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"policyengine.dev/runtime/config/schema"
	"policyengine.dev/sdk/strictyaml"
)

const (
	tcpNetwork  = "tcp"
	unixNetwork = "unix"
	// maxSocketPath is what sockaddr_un holds on Linux, less the final zero.
	maxSocketPath = 107
)

// UnmarshalNode reads host:port or unix:/path.
func (a *Address) UnmarshalNode(n strictyaml.Node) error {
	const remedy = "write host:port, such as 127.0.0.1:9001, or unix: and an absolute path"
	if n.Kind() != strictyaml.String {
		return n.Problem("not an address", remedy)
	}
	text := n.Text()
	if path, ok := strings.CutPrefix(text, unixNetwork+":"); ok {
		switch {
		case !filepath.IsAbs(path):
			return n.Problem("the path of a Unix socket has to be absolute", remedy)
		case len(path) > maxSocketPath:
			return n.Problem(fmt.Sprintf("the path of a Unix socket has %d bytes", len(path)),
				fmt.Sprintf("the operating system allows %d", maxSocketPath))
		case strings.IndexByte(path, 0) >= 0:
			return n.Problem("not an address", remedy)
		}
		*a = Address{unixNetwork, filepath.Clean(path)}
		return nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || strings.ContainsAny(host, "/ \t\x00") {
		return n.Problem("not an address", remedy)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(number, 10) != port {
		return n.Problem("not a port", "write a number from 0 to 65535")
	}
	*a = Address{tcpNetwork, text}
	return nil
}

// size is a number of bytes: a whole number, or one with a unit.
type size int64

// UnmarshalNode reads 1048576 or "1MiB".
func (s *size) UnmarshalNode(n strictyaml.Node) error {
	bytes, err := schema.ParseSize(n)
	if err != nil {
		return err
	}
	*s = size(bytes)
	return nil
}

// positive is a length of time above 0, or with a pointer one that may be absent.
type positive time.Duration

func (p *positive) UnmarshalNode(n strictyaml.Node) error {
	return decodeDuration(n, (*time.Duration)(p), 1)
}

// notNegative is a length of time of at least 0.
type notNegative time.Duration

func (p *notNegative) UnmarshalNode(n strictyaml.Node) error {
	return decodeDuration(n, (*time.Duration)(p), 0)
}

func decodeDuration(n strictyaml.Node, into *time.Duration, least time.Duration) error {
	var d time.Duration
	if err := n.Decode(&d); err != nil {
		return err
	}
	if d < least {
		return n.Problem("a length of time that is too short", "write one above 0, such as 200ms or 30s")
	}
	*into = d
	return nil
}

// fileMode is written as chmod takes it.
type fileMode fs.FileMode

func (m *fileMode) UnmarshalNode(n strictyaml.Node) error {
	number, err := strconv.ParseUint(n.Text(), 8, 32)
	if n.Kind() != strictyaml.String || err != nil || number == 0 || number > 0o777 {
		return n.Problem("not a file mode", `write it in octal and in quotes, such as "0660"`)
	}
	*m = fileMode(number)
	return nil
}

// choose reads one of several words.
func choose[T any](n strictyaml.Node, into *T, what string, names []string, values []T) error {
	if n.Kind() == strictyaml.String {
		for i, name := range names {
			if n.Text() == name {
				*into = values[i]
				return nil
			}
		}
	}
	last := len(names) - 1
	return n.Problem("not "+what, "write "+strings.Join(names[:last], ", ")+" or "+names[last])
}

// count is a whole number above 0 that fits everywhere.
type count int

// UnmarshalNode reads 20.
func (c *count) UnmarshalNode(n strictyaml.Node) error {
	number, err := strconv.ParseUint(n.Text(), 10, 30)
	if n.Kind() != strictyaml.Number || err != nil || number == 0 {
		return n.Problem("not a count", "write a whole number from 1 to 1073741823")
	}
	*c = count(number)
	return nil
}
