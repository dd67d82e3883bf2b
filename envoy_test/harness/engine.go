package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"policyengine.dev/runtime/config"
)

// MessageTimeout is how long the Envoys that are started here wait for the engine.
const MessageTimeout = 10 * time.Second

// Engine is a running engine: a bundle's binary as its own process.
type Engine struct {
	process *process
	options EngineOptions
	admin   http.Client
}

// EngineOptions say which engine to start.
type EngineOptions struct {
	// Path is the binary.
	Path string
	// Dir is an existing directory for files, whose path leaves room for a
	// Unix socket's name.
	Dir string
	// Config is merged into an engine.yaml that listens on a Unix socket, reads
	// chains.yaml beside it, declares what the filters of [Bootstrap]
	// allow, and ends without a delay when it is told to. A null takes a field
	// out.
	Config map[string]any
	// Chains is the file of chains and routes.
	Chains []byte
	// Unready has the engine waited for only until it tells its health, whatever
	// that is: for one that waits for valid chains.
	Unready bool
	// Environment is added to this process's own, each as NAME=value.
	Environment []string
}

// StartEngine starts an engine and waits until it says by gRPC health that it
// serves, or that it does not yet where it is expected not to.
func StartEngine(ctx context.Context, o EngineOptions) (*Engine, error) {
	e := &Engine{options: o}
	e.admin.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.path(adminSocket))
		},
	}
	if err := e.writeConfig(); err != nil {
		return nil, err
	}
	if err := e.Start(ctx, o.Chains); err != nil {
		return nil, err
	}
	return e, nil
}

// writeConfig writes engine.yaml.
func (e *Engine) writeConfig() error {
	static, err := json.MarshalIndent(merged(map[string]any{
		"listeners": []any{map[string]any{"address": e.Address()}},
		"admin":     map[string]any{"address": e.AdminAddress()},
		"source":    map[string]any{"path": chainsFile},
		"filter":    map[string]any{"messageTimeout": MessageTimeout.String(), "allowModeOverride": true},
		"drain":     map[string]any{"delay": "0s"},
	}, e.options.Config), "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the engine's configuration: %w", err)
	}
	if err := os.WriteFile(e.path(engineFile), static, 0o600); err != nil {
		return fmt.Errorf("writing the engine's configuration: %w", err)
	}
	return nil
}

// The names of an engine's files.
const (
	engineFile   = "engine.yaml"
	chainsFile   = "chains.yaml"
	engineSocket = "engine.sock"
	adminSocket  = "admin.sock"
)

func (e *Engine) path(name string) string { return filepath.Join(e.options.Dir, name) }

// Start starts an engine again that has been stopped, with these chains and the
// same engine.yaml.
func (e *Engine) Start(ctx context.Context, chains []byte) (err error) {
	if err := e.writeChains(chains); err != nil {
		return err
	}
	e.process, err = startProcess("the engine", e.options.Path, e.options.Dir, []string{"--config", e.path(engineFile)}, e.options.Environment)
	if err != nil {
		return err
	}
	if err := e.process.until(ctx, func() error { return serving(ctx, e.Address(), e.options.Unready) }); err != nil {
		e.Stop()
		return err
	}
	return nil
}

// serving asks for gRPC health. Any answer will do where the engine may be unready.
func serving(ctx context.Context, address string, unready bool) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	reply, err := healthpb.NewHealthClient(connection).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if !unready && reply.Status != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("health is %s", reply.Status)
	}
	return nil
}

// Address is where Envoy finds the engine: unix:/path.
func (e *Engine) Address() string { return "unix:" + e.path(engineSocket) }

// AdminAddress is where health, metrics and dumps are: unix:/path.
func (e *Engine) AdminAddress() string { return "unix:" + e.path(adminSocket) }

// ChainsFile is the path of the file of chains and routes.
func (e *Engine) ChainsFile() string { return e.path(chainsFile) }

// Log is the end of what the engine has written since it was started last.
func (e *Engine) Log() string { return e.process.log.String() }

// Admin gets a page of the engine's admin interface.
func (e *Engine) Admin(ctx context.Context, path string) ([]byte, error) {
	return getPage(ctx, &e.admin, "the engine's", "http://engine"+path)
}

// Metric is the value of a metric of the engine's own that has no labels, by its name
// after "policy_engine_", such as streams_open.
func (e *Engine) Metric(ctx context.Context, name string) (float64, error) {
	page, err := e.Admin(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(page)) {
		if value, found := strings.CutPrefix(line, "policy_engine_"+name+" "); found {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("the engine has no metric %s without labels", name)
}

// Resident is how much memory the engine's process has now, and how much it had at most,
// in bytes.
func (e *Engine) Resident() (now, most int64, err error) {
	page, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.process.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(page)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		switch fields[0] {
		case "VmRSS:":
			now = kilobytes << 10
		case "VmHWM:":
			most = kilobytes << 10
		}
	}
	return now, most, nil
}

// SetChains puts another file of chains and routes in place, atomically, and waits
// until the engine has taken or refused it.
func (e *Engine) SetChains(ctx context.Context, chains []byte) error {
	if err := e.writeChains(chains); err != nil {
		return err
	}
	spec, _, _ := config.ParseChains([]config.File{{Name: chainsFile, Src: chains}})
	return e.process.until(ctx, func() error {
		page, err := e.Admin(ctx, "/config_dump")
		if err != nil {
			return err
		}
		var dump struct{ Config, Rejected struct{ Version string } }
		if err := json.Unmarshal(page, &dump); err != nil {
			return fmt.Errorf("decoding the engine's dump: %w", err)
		}
		if dump.Config.Version != spec.Version && dump.Rejected.Version != spec.Version {
			return fmt.Errorf("the engine has configuration %s in force, %s is waited for", dump.Config.Version, spec.Version)
		}
		return nil
	})
}

func (e *Engine) writeChains(chains []byte) error {
	path := e.path(chainsFile)
	if err := os.WriteFile(path+".new", chains, 0o600); err != nil {
		return fmt.Errorf("writing chains: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing chains: %w", err)
	}
	return nil
}

// Terminate asks the engine to drain and end, and does not wait.
func (e *Engine) Terminate() { e.process.signal(syscall.SIGTERM) }

// Kill ends the engine at once and returns when it has ended.
func (e *Engine) Kill() {
	e.process.signal(syscall.SIGKILL)
	<-e.process.ended
}

// Ended is closed when the engine's process has ended.
func (e *Engine) Ended() <-chan struct{} { return e.process.ended }

// ExitCode is the engine's exit code once it has ended: -1 where a signal ended it.
// Call it after Ended.
func (e *Engine) ExitCode() int { return e.process.cmd.ProcessState.ExitCode() }

// Stop asks the engine to end, makes it after a while, and returns when it has.
func (e *Engine) Stop() { e.process.stop(5 * time.Second) }
