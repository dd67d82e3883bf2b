package envoyconfig_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/engine"
	"policyengine.dev/tools/pectl/envoyconfig"
	"policyengine.dev/tools/pectl/envoyconfig/internal/sample"
)

// engineVariable makes this binary behave like a bundle's: "real" makes it one.
const engineVariable = "ENVOYCONFIG_TEST_ENGINE"

func TestMain(m *testing.M) {
	switch os.Getenv(engineVariable) {
	case "":
	case "real":
		engine.Main("", entries)
	case "good":
		if got := strings.Join(os.Args[1:], " "); !strings.HasPrefix(got, "check --dump --config ") || !strings.HasSuffix(got, "engine.yaml") {
			fmt.Fprintln(os.Stderr, "called as", got)
			os.Exit(1)
		}
		fmt.Println(dumpJSON())
		os.Exit(0)
	default:
		fmt.Fprintln(os.Stderr, "chains.yaml:3:5: no policy is called \"nothing\"")
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func dumpJSON() string {
	b, err := json.Marshal(sample.Dump())
	if err != nil {
		panic(err)
	}
	return string(b)
}

// directory has an engine.yaml, and its dump.
type directory struct {
	*testing.T
	path string
}

func newDirectory(t *testing.T, engine string) *directory {
	t.Helper()
	d := &directory{t, t.TempDir()}
	d.write("engine.yaml", engine+"\nsource: {path: chains.yaml}\n")
	d.write("dump.json", dumpJSON())
	return d
}

func (d *directory) file(name string) string { return filepath.Join(d.path, name) }

func (d *directory) write(name, content string) string {
	d.Helper()
	if err := os.WriteFile(d.file(name), []byte(content), 0o600); err != nil {
		d.Fatal(err)
	}
	return d.file(name)
}

// pectl runs the command and returns what it has written.
func (d *directory) pectl(args ...string) (code int, out, errors string) {
	d.Helper()
	var stdout, stderr bytes.Buffer
	root := &cobra.Command{Use: "pectl"}
	root.AddCommand(envoyconfig.Command())
	code = commandline.Main(d.Context(), root, append([]string{"envoy-config"}, args...), commandline.IO{Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

// TestWaysToTheChains proves that pectl learns the chains' needs from a running engine, from
// a file, and from a bundle's binary, with the same result.
func TestWaysToTheChains(t *testing.T) {
	d := newDirectory(t, "")
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/config_dump" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, dumpJSON())
	})
	overTCP := httptest.NewServer(pages)
	defer overTCP.Close()
	socket := filepath.Join(t.TempDir(), "a.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	overUnix := httptest.NewUnstartedServer(pages)
	overUnix.Listener = listener
	overUnix.Start()
	defer overUnix.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(engineVariable, "good")
	_, want, _ := d.pectl("--config", d.file("engine.yaml"), "--dump", d.file("dump.json"))
	if !strings.Contains(want, "to-holding") {
		t.Fatalf("from a file: %s", want)
	}
	host := strings.TrimPrefix(overTCP.URL, "http://")
	for name, args := range map[string][]string{
		"from a URL":            {"--admin", overTCP.URL},
		"from a URL with slash": {"--admin", overTCP.URL + "/"},
		"from host and port":    {"--admin", host},
		"from a Unix socket":    {"--admin", "unix:" + socket},
		"from a binary":         {"--engine", self},
		"from where it listens": {"--config", d.write("admin.yaml", "admin: {address: \""+host+"\"}\nsource: {path: x}\n")},
	} {
		t.Run(name, func(t *testing.T) {
			code, got, errors := d.pectl(append([]string{"--config", d.file("engine.yaml")}, args...)...)
			if code != 0 || got != want {
				t.Errorf("exit code %d\n%s%s", code, got, errors)
			}
		})
	}
}

func TestFormats(t *testing.T) {
	d := newDirectory(t, "")
	code, out, _ := d.pectl("--config", d.file("engine.yaml"), "--dump", d.file("dump.json"), "--format", "json",
		"--message-timeout", "2s", "--cluster", "engines", "--address", "10.0.0.7:9001", "--address", "10.0.0.8:9001", "--max-requests", "77")
	if code != 0 || !json.Valid([]byte(out)) {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, want := range []string{`"message_timeout": "2s"`, `"cluster_name": "engines"`, `"10.0.0.7"`, `"10.0.0.8"`, `"max_requests": 77`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in it", want)
		}
	}
	file := d.write("out.json", "something older")
	code, nothing, _ := d.pectl("--config", d.file("engine.yaml"), "--dump", d.file("dump.json"), "--format", "json",
		"--message-timeout", "2s", "--cluster", "engines", "--address", "10.0.0.7:9001", "--address", "10.0.0.8:9001", "--max-requests", "77", "--out", file)
	written, err := os.ReadFile(file)
	if code != 0 || nothing != "" || err != nil || string(written) != out {
		t.Errorf("exit code %d, %v, output %q, file:\n%s", code, err, nothing, written)
	}
}

// TestCannot proves that nothing is written where something is missing or wrong, and
// that what is wrong is said.
func TestCannot(t *testing.T) {
	t.Setenv(engineVariable, "bad")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	failing := httptest.NewServer(http.NotFoundHandler())
	defer failing.Close()
	d := newDirectory(t, "admin: {address: \"127.0.0.1:1\"}")
	engine, dump := d.file("engine.yaml"), d.file("dump.json")
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no engine named", nil, 2, "--config"},
		{"an argument", []string{"--config", engine, "file.yaml"}, 2, `"file.yaml"`},
		{"two sources", []string{"--config", engine, "--dump", dump, "--admin", "x"}, 2, "[admin dump engine]"},
		{"no such format", []string{"--config", engine, "--dump", dump, "--format", "toml"}, 2, `"toml"`},
		{"a timeout that fires at once", []string{"--config", engine, "--dump", dump, "--message-timeout", "0s"}, 2, "--message-timeout"},
		{"no requests at all", []string{"--config", engine, "--dump", dump, "--max-requests", "0"}, 2, "--max-requests"},
		{"no engine.yaml", []string{"--config", d.file("none.yaml")}, 1, "none.yaml"},
		{"a broken engine.yaml", []string{"--config", d.write("bad.yaml", "sauce: 1")}, 1, "bad.yaml:1:1"},
		{"no dump", []string{"--config", engine, "--dump", d.file("none.json")}, 1, "none.json"},
		{"a dump that is none", []string{"--config", engine, "--dump", d.write("text.json", "hello")}, 1, "decoding"},
		{"an engine without a configuration", []string{"--config", engine, "--dump", d.write("empty.json", "{}")}, 1, "no configuration yet"},
		{"an engine that does not run", []string{"--config", engine}, 1, "--dump or --engine"},
		{"a URL that is not an engine's", []string{"--config", engine, "--admin", failing.URL}, 1, "404"},
		{"a binary that finds its chains wrong", []string{"--config", engine, "--engine", self}, 1, "chains.yaml:3:5"},
		{"a binary that is none", []string{"--config", engine, "--engine", dump}, 1, "dump.json"},
		{"nowhere to write to", []string{"--config", engine, "--dump", dump, "--out", d.file("none/out.yaml")}, 1, "out.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errors := d.pectl(tt.args...)
			if code != tt.code || out != "" || !strings.Contains(errors, tt.want) {
				t.Errorf("exit code %d, want %d with %q; output %q, errors %q", code, tt.code, tt.want, out, errors)
			}
		})
	}
}
