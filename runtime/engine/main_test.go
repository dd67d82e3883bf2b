package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/policy"
)

type nothing struct{}

func (*nothing) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}

func newNothing(struct{}, policy.Host) (*nothing, error) { return &nothing{}, nil }

// testManifest is the manifest of the engine that tests run.
const testManifest = `{"schema":"policyengine.manifest/v1","bundle":"tests","go":"go1.26.8","policies":[{"name":"nothing","version":"v1.2.0","importPath":"example.com/nothing","definition":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}],"modules":[{"path":"example.com/nothing","version":"v1.2.0"}]}`

// TestManifestIsRefused proves that a binary whose manifest is damaged does nothing.
func TestManifestIsRefused(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := run([]string{"version"}, `{"schema":"policyengine.manifest/v9"}`, entries(), nil, &stdout, &stderr)
	if code != exitFailed || stdout.Len() > 0 || !strings.Contains(stderr.String(), `schema: "policyengine.manifest/v9" is not known`) {
		t.Errorf("got %d, %s%s", code, stdout.Bytes(), stderr.Bytes())
	}
}

func entries() []worker.Entry {
	return []worker.Entry{{
		Definition: `{"apiVersion":"policyengine/v1","name":"nothing","version":"v1.2.0","description":"Does nothing.","phases":["request_headers"]}`,
		Factory:    policy.Define(newNothing),
	}}
}

// lines is a buffer that may be read while it is written to.
type lines struct {
	ch  chan string
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.all.Write(p)
	l.ch <- string(p)
	return len(p), nil
}

func (l *lines) waitFor(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case line := <-l.ch:
			if strings.Contains(line, text) {
				return
			}
		case <-timeout:
			t.Fatalf("%q was not logged", text)
		}
	}
}

// files writes an engine.yaml and a chains.yaml, and returns the path of the former.
func files(t *testing.T, engine, chains string) string {
	t.Helper()
	dir := t.TempDir()
	engine = fmt.Sprintf("listeners: [{address: \"unix:%s/s\"}]\nadmin: {address: \"unix:%s/a\"}\nsource: {path: chains.yaml}\n%s", dir, dir, engine)
	for name, content := range map[string]string{"engine.yaml": engine, "chains.yaml": chains} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "engine.yaml")
}

const noChains = "chains: []\nroutes: []\n"

func TestCommandLine(t *testing.T) {
	good := files(t, "", noChains)
	badEngine := files(t, "nonsense: true\nlimits: {body: -1}\n", noChains)
	badChains := files(t, "", "chains:\n- name: c\n  policies: [{name: nothing, version: v9}, {name: another, version: v1}]\nroutes: [{name: r, chain: d}]\n")
	for _, tt := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr []string
	}{
		{"help", []string{"-h"}, exitOK, []string{"Usage:\n  policy-engine [command]", "-config", "check"}, nil},
		{"help for a command", []string{"help", "run"}, exitOK, []string{"--config file", DefaultConfig}, nil},
		{"version", []string{"-version"}, exitOK, []string{"policy-engine ", "go1."}, nil},
		{"policies", []string{"--policies"}, exitOK, []string{"nothing@v1.2.0\tDoes nothing."}, nil},
		{"an unknown flag", []string{"-nonsense"}, exitUsage, nil, []string{"-nonsense", "-config file", DefaultConfig}},
		{"an argument after flags", []string{"-check", "engine.yaml"}, exitUsage, nil, []string{"takes no arguments", `"engine.yaml"`}},
		{"-dump alone", []string{"-dump"}, exitUsage, nil, []string{"-dump goes with -check"}},
		{"an unknown command", []string{"engine.yaml"}, exitUsage, nil, []string{`there is no command "engine.yaml"`}},
		{"an unknown flag of a command", []string{"check", "--nonsense"}, exitUsage, nil, []string{"unknown flag: --nonsense", "policy-engine check --help"}},
		{"an argument of a command", []string{"run", "engine.yaml"}, exitUsage, nil, []string{`unexpected argument "engine.yaml"`}},
		{"two forms of output", []string{"check", "--dump", "--json"}, exitUsage, nil, []string{"[dump json]"}},
		{"a completion script", []string{"completion", "bash"}, exitOK, []string{"__start_policy-engine"}, nil},
		{"no file", []string{"-config", filepath.Join(t.TempDir(), "none.yaml")}, exitFailed, nil, []string{"none.yaml"}},
		{"a good configuration", []string{"-check", "-config", good}, exitOK, []string{"nothing wrong"}, nil},
		{"every problem of engine.yaml", []string{"-config", badEngine}, exitFailed, nil, []string{"engine.yaml:4:1", "nonsense", "limits.body"}},
		{"every problem of the chains, checked", []string{"-check", "-config", badChains}, exitFailed, nil,
			[]string{"chains.yaml:3:", "v9", "another", "chains.yaml:4:"}},
		{"every problem of the chains, at start-up", []string{"-config", badChains}, exitFailed, nil,
			[]string{"chains.yaml:3:", "v9", "another", "chains.yaml:4:"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(tt.args, testManifest, entries(), nil, &stdout, &stderr); code != tt.code {
				t.Errorf("ended with %d, want %d", code, tt.code)
			}
			for _, want := range tt.stdout {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("%q is not in the output: %s", want, stdout.String())
				}
			}
			for _, want := range tt.stderr {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("%q is not in the errors: %s", want, stderr.String())
				}
			}
		})
	}
}

func TestEntriesHaveToBeGood(t *testing.T) {
	var stderr bytes.Buffer
	if code := run([]string{"-policies"}, testManifest, append(entries(), entries()...), nil, &stderr, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "twice") {
		t.Errorf("ended with %d: %s", code, stderr.String())
	}
}

// TestSignals proves that one signal drains and another ends the drain.
func TestSignals(t *testing.T) {
	for name, tt := range map[string]struct {
		delay   string
		signals int
	}{"one": {"0s", 1}, "two": {"1h", 2}} {
		t.Run(name, func(t *testing.T) {
			path := files(t, "drain: {delay: "+tt.delay+"}\n", noChains)
			signals := make(chan os.Signal, 2)
			stderr := &lines{ch: make(chan string, 100)}
			code := make(chan int)
			go func() { code <- run([]string{"-config", path}, testManifest, entries(), signals, stderr, stderr) }()
			stderr.waitFor(t, `"ready"`)
			signals <- syscall.SIGTERM
			stderr.waitFor(t, `"draining"`)
			if tt.signals == 2 {
				signals <- syscall.SIGINT
			}
			select {
			case c := <-code:
				if c != exitOK {
					t.Errorf("ended with %d", c)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("the engine has not ended")
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), "s")); !os.IsNotExist(err) {
				t.Errorf("the socket is left behind: %v", err)
			}
		})
	}
}

// TestASecondSignalCutsTheEndShort proves that what may take seconds at the end is
// given up once the process is to end at once.
func TestASecondSignalCutsTheEndShort(t *testing.T) {
	kill, cancel := context.WithCancel(context.Background())
	cancel()
	var err error
	bounded(kill, closing, func(ctx context.Context) {
		<-ctx.Done()
		err = ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with its time alone: %v", err)
	}
}

// TestJSONLogsWriteDurationsAsText proves that nobody has to count nanoseconds.
func TestJSONLogsWriteDurationsAsText(t *testing.T) {
	var out bytes.Buffer
	logger := newLogger(config.Logs{JSON: true}, &out)
	logger.Info("draining", slog.Duration("delay", 1500*time.Millisecond), slog.Group("step", slog.Duration("took", time.Microsecond)))
	for _, want := range []string{`"delay":"1.5s"`, `"took":"1µs"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %s: %s", want, out.String())
		}
	}
}
