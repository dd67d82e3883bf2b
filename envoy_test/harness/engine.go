package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// MessageTimeout is how long the Envoys that are started here wait for the engine.
const MessageTimeout = 10 * time.Second

// Engine is a running engine: a bundle's binary as a process of its own.
type Engine struct {
	process *process
	dir     string
	socket  string
}

// EngineOptions say which engine to start.
type EngineOptions struct {
	// Path is the binary.
	Path string
	// Dir is an existing directory for files, whose path leaves room for a
	// Unix socket's name.
	Dir string
	// Config is merged into an engine.yaml that listens on a Unix socket, reads
	// chains.yaml beside it, and declares what the filters of [Bootstrap]
	// allow.
	Config map[string]any
	// Chains is the file of chains and routes.
	Chains []byte
	// Environment is added to this process's own, each as NAME=value.
	Environment []string
}

// StartEngine starts an engine and waits until it says by gRPC health that it
// serves.
func StartEngine(ctx context.Context, o EngineOptions) (*Engine, error) {
	e := &Engine{dir: o.Dir, socket: filepath.Join(o.Dir, "engine.sock")}
	if err := e.SetChains(o.Chains); err != nil {
		return nil, err
	}
	config, err := json.MarshalIndent(merged(map[string]any{
		"listeners": []any{map[string]any{"address": "unix:" + e.socket}},
		"admin":     map[string]any{"address": "unix:" + filepath.Join(o.Dir, "admin.sock")},
		"source":    map[string]any{"path": chainsFile},
		"filter":    map[string]any{"messageTimeout": MessageTimeout.String(), "allowModeOverride": true},
	}, o.Config), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the engine's configuration: %w", err)
	}
	file := filepath.Join(o.Dir, "engine.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, fmt.Errorf("writing the engine's configuration: %w", err)
	}
	if e.process, err = startProcess("the engine", o.Path, o.Dir, []string{"--config", file}, o.Environment); err != nil {
		return nil, err
	}
	if err := e.process.until(ctx, func() error { return serving(ctx, e.Address()) }); err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

const chainsFile = "chains.yaml"

// serving asks for gRPC health.
func serving(ctx context.Context, address string) error {
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
	if reply.Status != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("health is %s", reply.Status)
	}
	return nil
}

// Address is where Envoy finds the engine: unix:/path.
func (e *Engine) Address() string { return "unix:" + e.socket }

// AdminAddress is where health, metrics and dumps are: unix:/path.
func (e *Engine) AdminAddress() string { return "unix:" + filepath.Join(e.dir, "admin.sock") }

// Log is the end of what the engine has written.
func (e *Engine) Log() string { return e.process.log.String() }

// SetChains puts another file of chains and routes in place, atomically. The engine
// finds it by itself.
func (e *Engine) SetChains(chains []byte) error {
	path := filepath.Join(e.dir, chainsFile)
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

// Stop asks the engine to end, makes it after a while, and returns when it has.
func (e *Engine) Stop() { e.process.stop(5 * time.Second) }
