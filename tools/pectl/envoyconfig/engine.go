package envoyconfig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// engineFlags name an engine, and where to read what its chains need.
type engineFlags struct {
	config, admin, dump, engine string
}

func (f *engineFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.config, "config", "", "the engine's configuration `file`, engine.yaml (required)")
	flags.StringVar(&f.admin, "admin", "", "ask the engine at this `url`, such as http://127.0.0.1:9002 or unix:/path (default the admin address in engine.yaml)")
	flags.StringVar(&f.dump, "dump", "", "read this `file`, the output of an engine's /config_dump, instead of asking an engine")
	flags.StringVar(&f.engine, "engine", "", "have the bundle's binary at this `path` check its configuration, instead of asking a running engine")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	_ = c.MarkFlagFilename("dump", "json")
	_ = c.MarkFlagFilename("engine")
	c.MarkFlagsMutuallyExclusive("admin", "dump", "engine")
}

// Bounds on what an engine may tell, and how long it may take.
const (
	maxDump     = 64 << 20
	dumpTimeout = time.Minute
)

// load reads engine.yaml and finds out what the chains need.
func (f *engineFlags) load(ctx context.Context) (*needs.Needs, error) {
	if f.config == "" {
		return nil, commandline.Usagef("--config is missing: it names the engine's engine.yaml")
	}
	engine, err := config.LoadEngine(f.config)
	if err != nil {
		return nil, err
	}
	dump, err := f.read(ctx, engine)
	if err != nil {
		return nil, err
	}
	return needs.New(engine, dump)
}

func (f *engineFlags) read(ctx context.Context, engine config.Engine) (admin.Dump, error) {
	ctx, cancel := context.WithTimeout(ctx, dumpTimeout)
	defer cancel()
	var src []byte
	var err error
	switch {
	case f.dump != "":
		src, err = readFile(f.dump, maxDump)
	case f.engine != "":
		src, err = run(ctx, f.engine, "check", "--dump", "--config", f.config)
	case f.admin != "":
		src, err = fetch(ctx, f.admin)
	default:
		if src, err = fetch(ctx, engine.Admin.String()); err != nil {
			err = fmt.Errorf("%w (with --dump or --engine no running engine is needed)", err)
		}
	}
	if err != nil {
		return admin.Dump{}, err
	}
	var dump admin.Dump
	if err := json.Unmarshal(src, &dump); err != nil {
		return admin.Dump{}, fmt.Errorf("decoding the engine's dump: %w", err)
	}
	return dump, nil
}

// readFile reads a file of bounded size.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, limit)
}

func readAll(r io.Reader, name string, limit int64) ([]byte, error) {
	src, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(src)) > limit {
		return nil, fmt.Errorf("reading %s: it has more than %d bytes", name, limit)
	}
	return src, nil
}

// run returns what a program writes to its standard output.
func run(ctx context.Context, program string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, program, args...)
	var stdout, stderr bounded
	stdout.left, stderr.left = maxDump, 16<<10
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = 5 * time.Second
	err := command.Run()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case err != nil && stderr.Len() > 0:
		err = fmt.Errorf("%w\n%s", err, strings.TrimSpace(stderr.String()))
	}
	if err != nil {
		return nil, fmt.Errorf("running %s %s: %w", program, strings.Join(args, " "), err)
	}
	return stdout.Bytes(), nil
}

// bounded keeps the first bytes that are written to it and drops the rest, which
// what reads it will find out.
type bounded struct {
	bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	keep := p[:min(len(p), b.left)]
	b.left -= len(keep)
	b.Buffer.Write(keep)
	return len(p), nil
}

// fetch asks an engine's admin listener: a URL, host:port, or unix:/path.
func fetch(ctx context.Context, where string) ([]byte, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	target := where
	if path, ok := strings.CutPrefix(where, "unix:"); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		target = "http://admin"
	} else if !strings.Contains(where, "://") {
		target = "http://" + where
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("asking the engine: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("config_dump").String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking the engine: %w", err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the engine at %s: %w", where, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking the engine at %s: it answers %s", where, response.Status)
	}
	return readAll(response.Body, where, maxDump)
}
