package redisstore

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"policyengine.dev/sdk/policy"
)

// Params say where Redis is and how it is asked.
type Params struct {
	// Mode is one of "single", "sentinel" and "cluster".
	Mode      string   `json:"mode"`
	Addresses []string `json:"addresses"`
	// Master is the name that the sentinels know the servers by.
	Master   string          `json:"master"`
	Database int             `json:"database"`
	Username string          `json:"username"`
	Password policy.Secret   `json:"password"`
	Sentinel Credentials     `json:"sentinel"`
	TLS      *TLS            `json:"tls"`
	Timeout  policy.Duration `json:"timeout"`
	// Connections bounds those to each server.
	Connections int    `json:"connections"`
	Prefix      string `json:"prefix"`
}

// Credentials are a user name and a password.
type Credentials struct {
	Username string        `json:"username"`
	Password policy.Secret `json:"password"`
}

// TLS says how the servers are known, and what they are shown. The zero value trusts the
// system's authorities.
type TLS struct {
	CAFile          string        `json:"caFile"`
	CertificateFile string        `json:"certificateFile"`
	Key             policy.Secret `json:"key"`
	ServerName      string        `json:"serverName"`
}

// The modes.
const (
	modeSingle   = "single"
	modeSentinel = "sentinel"
	modeCluster  = "cluster"
)

// maxTimeout is the longest time that a request may wait for Redis.
const maxTimeout = 10 * time.Second

// check returns every problem with its path.
func (p Params) check() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf("redis."+format, args...)) }
	for i, a := range p.Addresses {
		host, port, err := net.SplitHostPort(a)
		if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || host == "" {
			problem("addresses[%d]: it is not HOST:PORT", i)
		} else if slices.Contains(p.Addresses[:i], a) {
			problem("addresses[%d]: it is there twice", i)
		}
	}
	switch {
	case len(p.Addresses) == 0:
		problem("addresses: there is none")
	case p.Mode == modeSingle && len(p.Addresses) > 1:
		problem("addresses: mode single has one; several servers need mode sentinel or cluster")
	}
	if (p.Mode == modeSentinel) != (p.Master != "") {
		problem("master: mode sentinel needs it, and no other mode has it")
	}
	if p.Mode != modeSentinel && (p.Sentinel.Username != "" || !p.Sentinel.Password.IsZero()) {
		problem("sentinel: only mode sentinel has it")
	}
	if p.Mode == modeCluster && p.Database != 0 {
		problem("database: a cluster has only database 0")
	}
	if p.Username != "" && p.Password.IsZero() {
		problem("password: a user name needs one")
	}
	if p.Sentinel.Username != "" && p.Sentinel.Password.IsZero() {
		problem("sentinel.password: a user name needs one")
	}
	if d := p.Timeout.Std(); d < time.Millisecond || d > maxTimeout {
		problem("timeout: %s is not between 1ms and %s", p.Timeout, maxTimeout)
	}
	if t := p.TLS; t != nil && (t.CertificateFile == "") != t.Key.IsZero() {
		problem("tls: certificateFile and key go together")
	}
	return errors.Join(problems...)
}

// Identity has everything that a connection depends on. It may hold a secret: keep it in
// memory.
func (p Params) Identity() string {
	secret := func(s policy.Secret) string {
		v, _ := s.Inline()
		return fmt.Sprintf("%q %q %q", s.File, s.Env, v)
	}
	id := fmt.Sprintf("%q %q %q %d %q %s %q %s %d %d", p.Mode, p.Addresses, p.Master, p.Database, p.Username, secret(p.Password),
		p.Sentinel.Username, secret(p.Sentinel.Password), p.Timeout, p.Connections)
	if t := p.TLS; t != nil {
		id += fmt.Sprintf(" tls %q %q %s %q", t.CAFile, t.CertificateFile, secret(t.Key), t.ServerName)
	}
	return id
}
