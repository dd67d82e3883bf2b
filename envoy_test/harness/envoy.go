package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Envoy is a running Envoy.
type Envoy struct {
	process   *process
	dir       string
	admin     string
	listeners map[string]string
	client    http.Client
}

// EnvoyOptions say which Envoy to start.
type EnvoyOptions struct {
	// Path is the binary.
	Path string
	// Config is the bootstrap configuration in YAML or JSON. Addresses in it
	// may have port 0. Its admin address must.
	Config []byte
	// JSON has Envoy read Config as JSON. Otherwise it reads it as YAML, which
	// makes other values of some words and numbers.
	JSON bool
	// Dir is an existing directory for files; Envoy runs in it.
	Dir string
	// Concurrency is the number of worker threads; 0 counts as 1.
	Concurrency int
	// LogLevel is Envoy's own; empty counts as warning.
	LogLevel string
}

// StartEnvoy starts Envoy and waits until it is live and its listeners are bound.
func StartEnvoy(ctx context.Context, o EnvoyOptions) (*Envoy, error) {
	config, admin := filepath.Join(o.Dir, "envoy.yaml"), filepath.Join(o.Dir, "envoy-admin")
	if o.JSON {
		config = filepath.Join(o.Dir, "envoy.json")
	}
	if err := os.WriteFile(config, o.Config, 0o600); err != nil {
		return nil, fmt.Errorf("writing Envoy's configuration: %w", err)
	}
	if o.LogLevel == "" {
		o.LogLevel = "warning"
	}
	p, err := startProcess("Envoy", o.Path, o.Dir, []string{
		"--config-path", config, "--admin-address-path", admin, "--disable-hot-restart",
		"--concurrency", strconv.Itoa(max(1, o.Concurrency)), "--log-level", o.LogLevel,
		// Secrets from files (SDS) want to know whose they are.
		"--service-node", "envoy", "--service-cluster", "envoy",
		// The access log is read while Envoy runs.
		"--file-flush-interval-msec", "5",
	}, nil)
	if err != nil {
		return nil, err
	}
	e := &Envoy{process: p, dir: o.Dir}
	e.client.Transport = &http.Transport{MaxIdleConns: 1}
	err = p.until(ctx, func() error {
		address, err := os.ReadFile(admin)
		if err != nil {
			return err
		}
		e.admin = string(address)
		if _, err := e.Admin(ctx, "/ready"); err != nil {
			return err
		}
		return e.readListeners(ctx)
	})
	if err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

// Stop ends Envoy at once: connections are not drained.
func (e *Envoy) Stop() {
	e.process.stop(5 * time.Second)
	e.client.CloseIdleConnections()
}

// Log is the end of what Envoy has written.
func (e *Envoy) Log() string { return e.process.log.String() }

// AdminAddress is host:port of Envoy's admin interface.
func (e *Envoy) AdminAddress() string { return e.admin }

// Listener is host:port of the listener of that name, or "".
func (e *Envoy) Listener(name string) string { return e.listeners[name] }

// Admin gets a page of Envoy's admin interface.
func (e *Envoy) Admin(ctx context.Context, path string) ([]byte, error) {
	return getPage(ctx, &e.client, "Envoy's", "http://"+e.admin+path)
}

func getPage(ctx context.Context, client *http.Client, whose, url string) ([]byte, error) {
	fail := func(err error) error { return fmt.Errorf("asking %s admin interface: %w", whose, err) }
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fail(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fail(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fail(err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fail(fmt.Errorf("status %d of %s: %s", response.StatusCode, request.URL.Path, bytes.TrimSpace(body)))
	}
	return body, nil
}

func (e *Envoy) readListeners(ctx context.Context) error {
	body, err := e.Admin(ctx, "/listeners?format=json")
	if err != nil {
		return err
	}
	var page struct {
		Statuses []struct {
			Name  string `json:"name"`
			Local struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return fmt.Errorf("decoding Envoy's listeners: %w", err)
	}
	e.listeners = map[string]string{}
	for _, s := range page.Statuses {
		if s.Local.Socket.Port == 0 {
			return fmt.Errorf("listener %s is not bound yet", s.Name)
		}
		e.listeners[s.Name] = s.Local.Socket.Address + ":" + strconv.Itoa(s.Local.Socket.Port)
	}
	if len(e.listeners) == 0 {
		return errors.New("there is no listener yet")
	}
	return nil
}

// Counters are Envoy's own counts of what passed between it and the engine, by
// their names after "ext_proc.", such as streams_started.
type Counters map[string]int64

// Counters reads them, summed over all listeners and, for a filter that is among the
// upstream's, over all clusters.
func (e *Envoy) Counters(ctx context.Context) (Counters, error) {
	const infix = "ext_proc." // of an upstream's filter it does not follow a dot
	body, err := e.Admin(ctx, "/stats?format=json&filter="+url.QueryEscape(`^(http|cluster)\..*ext_proc\.`))
	if err != nil {
		return nil, err
	}
	return counters(body, func(name string) (string, bool) {
		_, name, ok := strings.Cut(name, infix)
		return name, ok
	})
}

// Stats reads counters by their whole names, such as
// "cluster.upstream.upstream_cx_total". One that Envoy does not have is left out.
func (e *Envoy) Stats(ctx context.Context, names ...string) (Counters, error) {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = regexp.QuoteMeta(name)
	}
	body, err := e.Admin(ctx, "/stats?format=json&filter="+url.QueryEscape("^("+strings.Join(quoted, "|")+")$"))
	if err != nil {
		return nil, err
	}
	return counters(body, func(name string) (string, bool) { return name, true })
}

// counters adds up Envoy's statistics under the names that called gives them.
func counters(page []byte, called func(string) (string, bool)) (Counters, error) {
	var p struct {
		Stats []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(page, &p); err != nil {
		return nil, fmt.Errorf("decoding Envoy's counters: %w", err)
	}
	all := Counters{}
	for _, s := range p.Stats {
		name, ok := called(s.Name)
		var value int64
		if !ok || json.Unmarshal(s.Value, &value) != nil {
			continue // a histogram
		}
		all[name] += value
	}
	return all, nil
}

// Guarded are the counters that have to stay where they are unless a test says so:
// each counts something that Envoy found wrong or did without the engine.
func Guarded() []string {
	return []string{
		"spurious_msgs_received", "rejected_header_mutations", "streams_failed", "failure_mode_allowed", "message_timeouts",
		"override_message_timeout_ignored", "clear_route_cache_ignored", "clear_route_cache_disabled", "clear_route_cache_upstream_ignored",
	}
}

// Since is how far each has risen since before. Those that have not are left out.
func (c Counters) Since(before Counters) Counters {
	rise := Counters{}
	for name, value := range c {
		if d := value - before[name]; d != 0 {
			rise[name] = d
		}
	}
	return rise
}
