package network_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"policyengine.dev/tools/offline/network"
)

func TestDecide(t *testing.T) {
	answers := func(context.Context) error { return nil }
	silent := func(context.Context) error { return errors.New("no such host") }
	unasked := func(context.Context) error { t.Error("probed, although it was decided already"); return nil }
	tests := []struct {
		name, setting string
		probe         func(context.Context) error
		want          network.Kind
		why, err      string
	}{
		{name: "the setting decides, with no probe", setting: "closed", probe: unasked, want: network.Closed, why: network.Variable},
		{name: "whatever its case", setting: "OPEN", probe: unasked, want: network.Open, why: network.Variable},
		{name: "a setting that is neither is refused", setting: "ajar", probe: unasked, err: `"ajar"`},
		{name: "a registry that answers means open", probe: answers, want: network.Open, why: "answers"},
		{name: "one that does not means closed, and says why", probe: silent, want: network.Closed, why: "no such host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := network.Decider{Setting: tt.setting, Probe: tt.probe, Now: time.Now}.Decide(t.Context())
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("err = %v, want %q in it", err, tt.err)
				}
				return
			}
			if err != nil || got.Kind != tt.want || !strings.Contains(got.Why, tt.why) {
				t.Errorf("Decide = %+v, %v; want %s, because %q", got, err, tt.want, tt.why)
			}
		})
	}
}

func TestDecideRemembers(t *testing.T) {
	probes := 0
	now := time.Now()
	d := network.Decider{
		Memory: filepath.Join(t.TempDir(), "cache", "network"),
		Keep:   time.Hour,
		Probe:  func(context.Context) error { probes++; return nil },
		Now:    func() time.Time { return now },
	}
	decide := func(want int, when string) {
		t.Helper()
		if v, err := d.Decide(t.Context()); err != nil || v.Kind != network.Open {
			t.Fatalf("Decide = %+v, %v", v, err)
		}
		if probes != want {
			t.Errorf("%s: %d probes, want %d", when, probes, want)
		}
	}
	decide(1, "at first")
	now = now.Add(time.Minute)
	decide(1, "within the hour")
	now = now.Add(2 * time.Hour)
	decide(2, "after it")
	d.Keep = 0
	decide(3, "when nothing is to be remembered")
}

func TestAnInterruptedProbeIsNoVerdict(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	memory := filepath.Join(t.TempDir(), "network")
	_, err := network.Decider{
		Memory: memory, Keep: time.Hour, Now: time.Now,
		Probe: func(context.Context) error { cancel(); return ctx.Err() },
	}.Decide(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if _, err := os.Stat(memory); !os.IsNotExist(err) {
		t.Errorf("it was remembered (%v)", err)
	}
}

func TestHTTPProbe(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case "/forbidden":
			http.Error(w, "no", http.StatusForbidden)
		}
	}))
	defer server.Close()
	defer close(release)
	for _, program := range []string{"curl", "python3"} {
		t.Run("by "+program, func(t *testing.T) {
			only(t, program)
			for path, want := range map[string]string{"/": "", "/forbidden": "403", "/silent": "timed out"} {
				err := network.HTTPProbe(server.URL+path, time.Second)(t.Context())
				if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("probing %s: %v, want %q", path, err, want)
				}
			}
		})
	}
	t.Run("by nothing", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		err := network.HTTPProbe(server.URL, time.Second)(t.Context())
		if err == nil || !strings.Contains(err.Error(), network.Variable) {
			t.Errorf("err = %v, want that it names %s", err, network.Variable)
		}
	})
}

// only makes program the only one on PATH, or skips the test where there is none.
func only(t *testing.T, program string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	// The program itself finds what it found before.
	script := "#!/bin/sh\nPATH='" + os.Getenv("PATH") + "' exec " + path + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}
