package policytest

import (
	"fmt"
	"sync"

	"policyengine.dev/sdk/policy"
)

// Secrets is what references to secrets stand for. Inline secrets need no entry.
// The zero value knows none. Safe for concurrent use.
type Secrets struct {
	mu   sync.Mutex
	file map[string]string
	env  map[string]string
}

// SetFile gives the file at path a content, or another one: what was opened before
// sees it.
func (s *Secrets) SetFile(path, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		s.file = map[string]string{}
	}
	s.file[path] = value
}

// SetEnv gives the environment variable a value.
func (s *Secrets) SetEnv(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.env == nil {
		s.env = map[string]string{}
	}
	s.env[name] = value
}

// Open implements [policy.Secrets].
func (s *Secrets) Open(secret policy.Secret) policy.SecretSource {
	return secretSource{s, secret}
}

type secretSource struct {
	secrets *Secrets
	secret  policy.Secret
}

func (s secretSource) Value() (string, error) {
	if v, ok := s.secret.Inline(); ok {
		return v, nil
	}
	s.secrets.mu.Lock()
	defer s.secrets.mu.Unlock()
	v, ok := s.secrets.file[s.secret.File]
	if s.secret.Env != "" {
		v, ok = s.secrets.env[s.secret.Env]
	}
	if !ok {
		return "", fmt.Errorf("reading the secret %s: the test's host does not have it", s.secret)
	}
	return v, nil
}
