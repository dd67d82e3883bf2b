package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"policyengine.dev/sdk/policy"
)

const (
	// SecretMaxSize bounds a secret's file in bytes.
	SecretMaxSize = 64 << 10
	// SecretCheckInterval is how old a secret from a file may be before a look
	// at the file tells whether it has changed.
	SecretCheckInterval = time.Second
)

// Secrets resolves references to secrets. Environment variables are read once,
// files again after they have changed. The zero value is not usable: see
// [NewSecrets]. Safe for concurrent use.
type Secrets struct{ clock policy.Clock }

// NewSecrets returns secrets that are as old as clock says.
func NewSecrets(clock policy.Clock) *Secrets { return &Secrets{clock} }

// Open implements policy.Secrets.
func (s *Secrets) Open(ref policy.Secret) policy.SecretSource {
	switch {
	case ref.File != "":
		return &fileSecret{path: ref.File, clock: s.clock}
	case ref.Env != "":
		v, ok := os.LookupEnv(ref.Env)
		if !ok || v == "" {
			return fixedSecret{err: fmt.Errorf("reading a secret: environment variable %s is not set", ref.Env)}
		}
		return fixedSecret{value: v}
	}
	v, ok := ref.Inline()
	if !ok {
		return fixedSecret{err: errors.New("reading a secret: it is not set")}
	}
	return fixedSecret{value: v}
}

type fixedSecret struct {
	value string
	err   error
}

// Value implements policy.SecretSource.
func (f fixedSecret) Value() (string, error) { return f.value, f.err }

// fileSecret reads a file again when it has changed. Nothing runs in the background:
// whoever asks for a value that is old enough looks at the file, and the others go on
// with the value that is there.
type fileSecret struct {
	path  string
	clock policy.Clock

	current atomic.Pointer[secretVersion]
	looking sync.Mutex
}

// secretVersion is what a file said, and when it was checked.
type secretVersion struct {
	value string
	err   error
	file  os.FileInfo
	at    time.Time
}

// Value implements policy.SecretSource.
func (f *fileSecret) Value() (string, error) {
	v := f.current.Load()
	if v == nil {
		f.looking.Lock()
		defer f.looking.Unlock()
		if v = f.current.Load(); v == nil {
			v = f.look(nil)
		}
		return v.value, v.err
	}
	if f.clock.Now().Sub(v.at) >= SecretCheckInterval && f.looking.TryLock() {
		v = f.look(v)
		f.looking.Unlock()
	}
	return v.value, v.err
}

// look reads the file where it is not as it was. A file that cannot be read leaves
// the last good value. The caller holds looking.
func (f *fileSecret) look(old *secretVersion) *secretVersion {
	now := f.clock.Now()
	info, err := os.Stat(f.path)
	if err == nil && old != nil && old.err == nil && sameFile(info, old.file) {
		v := *old
		v.at = now
		f.current.Store(&v)
		return &v
	}
	v := &secretVersion{file: info, at: now}
	if err == nil {
		v.value, err = readSecret(f.path)
	}
	if err != nil {
		v.err = fmt.Errorf("reading a secret: %w", err)
		if old != nil && old.err == nil {
			v.value, v.err, v.file = old.value, nil, nil
		}
	}
	f.current.Store(v)
	return v
}

func sameFile(a, b os.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func readSecret(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, SecretMaxSize+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > SecretMaxSize:
		return "", fmt.Errorf("%s is larger than %d bytes", path, SecretMaxSize)
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if len(b) == 0 {
		return "", fmt.Errorf("%s is empty", path)
	}
	return string(b), nil
}
