// Package network tells whether Bazel's own sources can be reached from here.
package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Variable is the environment variable that decides by itself, without a probe.
const Variable = "POLICY_ENGINE_NETWORK"

// Registry is what is probed: where Bazel gets its modules from on an open network.
const Registry = "https://bcr.bazel.build/bazel_registry.json"

// A Kind is what can be reached.
type Kind string

// The kinds of network.
const (
	Open   Kind = "open"   // the internet: Bazel's registry and releases
	Closed Kind = "closed" // package registries, and nothing else
)

// A Verdict is a Kind and how it was found.
type Verdict struct {
	Kind Kind
	// Why is for people: "POLICY_ENGINE_NETWORK says so".
	Why string
	// Probed is whether a probe was made just now.
	Probed bool
}

// A Decider decides between open and closed.
type Decider struct {
	// Setting is the value of Variable; empty means that a probe decides.
	Setting string
	// Memory is the file that keeps a probe's verdict; empty means none.
	Memory string
	// Keep is how long a remembered verdict holds; zero means not at all.
	Keep time.Duration
	// Probe reports why the registry cannot be reached, nil if it can.
	Probe func(context.Context) error
	// Now is the clock.
	Now func() time.Time
}

// Decide returns the verdict: the setting's, a remembered one, or the probe's.
// It errs for a setting that is neither "open" nor "closed", and when ctx ends.
func (d Decider) Decide(ctx context.Context) (Verdict, error) {
	switch setting := Kind(strings.ToLower(d.Setting)); setting {
	case Open, Closed:
		return Verdict{Kind: setting, Why: Variable + " says so"}, nil
	case "":
	default:
		return Verdict{}, fmt.Errorf("%s is %q: set it to %q or %q, or unset it to have one probe decide", Variable, d.Setting, Open, Closed)
	}
	if v, ok := d.recall(); ok {
		return v, nil
	}
	v := Verdict{Kind: Open, Why: "Bazel's module registry answers", Probed: true}
	if err := d.Probe(ctx); err != nil {
		if ctx.Err() != nil { // the caller gave up: that says nothing of the network
			return Verdict{}, ctx.Err()
		}
		v.Kind, v.Why = Closed, "Bazel's module registry does not answer: "+err.Error()
	}
	d.remember(v.Kind)
	return v, nil
}

func (d Decider) recall() (Verdict, bool) {
	if d.Memory == "" || d.Keep <= 0 {
		return Verdict{}, false
	}
	info, err := os.Stat(d.Memory)
	if err != nil {
		return Verdict{}, false
	}
	age := d.Now().Sub(info.ModTime())
	text, err := os.ReadFile(d.Memory)
	kind := Kind(strings.TrimSpace(string(text)))
	if err != nil || age < 0 || age > d.Keep || (kind != Open && kind != Closed) {
		return Verdict{}, false
	}
	return Verdict{Kind: kind, Why: fmt.Sprintf("a probe found so %s ago", age.Round(time.Second))}, true
}

// remember is a convenience for the next call: that it fails harms nothing.
func (d Decider) remember(k Kind) {
	if d.Memory == "" {
		return
	}
	if os.MkdirAll(filepath.Dir(d.Memory), 0o755) == nil {
		_ = os.WriteFile(d.Memory, []byte(string(k)+"\n"), 0o644)
	}
}

// ask is a Python program that gets a URL (its first argument) within some seconds
// (its second).
const ask = `import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read(1)
except Exception as e:
    sys.exit(f"{type(e).__name__}: {e}")
`

// HTTPProbe asks url once and waits for at most limit. It has curl do it, or Python
// where there is no curl; both follow the proxy settings of the environment, as Bazel
// does. Go's own client would be half of the time that it takes to build bazelw.
func HTTPProbe(url string, limit time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		seconds := strconv.FormatFloat(limit.Seconds(), 'f', -1, 64)
		for _, command := range [][]string{
			{"curl", "--silent", "--show-error", "--fail", "--max-time", seconds, "--output", os.DevNull, url},
			{"python3", "-c", ask, url, seconds},
		} {
			program, err := exec.LookPath(command[0])
			if err != nil {
				continue
			}
			return get(ctx, limit, program, command[1:])
		}
		return fmt.Errorf("there is neither curl nor python3 to ask with; set %s to %q or %q", Variable, Open, Closed)
	}
}

func get(ctx context.Context, limit time.Duration, program string, args []string) error {
	// The program ends by itself, and says why; this is for one that does not.
	ctx, cancel := context.WithTimeout(ctx, 2*limit)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(said.String()); text != "" {
			return errors.New(text)
		}
		return fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return nil
}
