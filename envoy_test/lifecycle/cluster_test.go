package lifecycle_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"policyengine.dev/envoy_test/harness"
	"policyengine.dev/envoy_test/harness/harnesstest"
	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/config"
	"policyengine.dev/tools/pectl/envoyconfig/generate"
	"policyengine.dev/tools/pectl/envoyconfig/needs"
)

// fleet is a cluster of engines at these paths of Unix sockets, of which Envoy asks the
// health by gRPC.
func fleet(sockets ...string) map[string]any {
	var endpoints []any
	for _, path := range sockets {
		endpoints = append(endpoints, map[string]any{"endpoint": map[string]any{
			"address": map[string]any{"pipe": map[string]any{"path": path}},
		}})
	}
	return map[string]any{
		"load_assignment": map[string]any{"cluster_name": harness.EngineCluster, "endpoints": []any{
			map[string]any{"lb_endpoints": endpoints},
		}},
		"health_checks": []any{map[string]any{
			// Patient with a machine that has much to do, but quick to act.
			"timeout": "20s", "interval": "0.05s", "no_traffic_interval": "0.05s", "unhealthy_threshold": 1, "healthy_threshold": 1,
			"grpc_health_check": map[string]any{},
		}},
	}
}

// generated is the cluster that pectl envoy-config writes for these engines.
func generated(t *testing.T, all ...*harness.Engine) map[string]any {
	t.Helper()
	page, err := all[0].Admin(harnesstest.Context(t), "/config_dump")
	if err != nil {
		t.Fatal(err)
	}
	var dump admin.Dump
	if err := json.Unmarshal(page, &dump); err != nil {
		t.Fatal(err)
	}
	n, err := needs.New(config.DefaultEngine(), dump)
	if err != nil {
		t.Fatal(err)
	}
	o := generate.Options{ClusterName: harness.EngineCluster}
	for _, e := range all {
		o.Addresses = append(o.Addresses, e.Address())
	}
	d, err := generate.New(n, o)
	if err != nil {
		t.Fatal(err)
	}
	var written bytes.Buffer
	if err := d.WriteJSON(&written); err != nil {
		t.Fatal(err)
	}
	var parts struct{ Cluster map[string]any }
	if err := json.Unmarshal(written.Bytes(), &parts); err != nil {
		t.Fatal(err)
	}
	return parts.Cluster
}

// healthy are the addresses of the engines that Envoy sends requests to.
func healthy(ctx context.Context, e *harness.Envoy) ([]string, error) {
	page, err := e.Admin(ctx, "/clusters?format=json")
	if err != nil {
		return nil, err
	}
	var clusters struct {
		Statuses []struct {
			Name  string
			Hosts []struct {
				Address struct{ Pipe struct{ Path string } }
				Health  struct {
					Failed  bool   `json:"failed_active_health_check"`
					Pending bool   `json:"pending_active_hc"`
					EDS     string `json:"eds_health_status"`
				} `json:"health_status"`
			} `json:"host_statuses"`
		} `json:"cluster_statuses"`
	}
	if err := json.Unmarshal(page, &clusters); err != nil {
		return nil, err
	}
	var all []string
	for _, c := range clusters.Statuses {
		for _, h := range c.Hosts {
			if c.Name == harness.EngineCluster && !h.Health.Failed && !h.Health.Pending {
				all = append(all, h.Address.Pipe.Path)
			}
		}
	}
	slices.Sort(all)
	return all, nil
}

// takes waits until Envoy sends requests to these engines and to no other.
func takes(t *testing.T, e *harness.Envoy, engines ...*harness.Engine) {
	t.Helper()
	var want []string
	for _, engine := range engines {
		want = append(want, strings.TrimPrefix(engine.Address(), "unix:"))
	}
	slices.Sort(want)
	harnesstest.Eventually(t, func() error {
		got, err := healthy(t.Context(), e)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("healthy to Envoy are %v, want %v", got, want)
		}
		return err
	})
}

// load sends requests from several clients, each one after another, until it is ended.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	by     map[string]int
	failed []answer
}

// clients is how many send at a time, and pace what lies between the requests of one,
// so that a machine with few processors has some left for the rest.
const (
	clients = 4
	pace    = 3 * time.Millisecond
)

// send begins to load the path. At the end of the test it has ended.
func send(t *testing.T, e *harness.Envoy, path string) *load {
	ctx, cancel := context.WithCancel(harnesstest.Context(t))
	l := &load{cancel: cancel, by: map[string]int{}}
	for range clients {
		l.done.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			for ctx.Err() == nil {
				// A request that has begun is seen to its end.
				a := get(context.WithoutCancel(ctx), client, e, path)
				l.mu.Lock()
				if a.signed() != nil {
					l.failed = append(l.failed, a)
				} else {
					l.by[a.answered]++
				}
				l.mu.Unlock()
				time.Sleep(pace)
			}
		})
	}
	t.Cleanup(func() { cancel(); l.done.Wait() })
	return l
}

// served waits until the engine called name has answered more requests than it had.
func (l *load) served(t *testing.T, name string) {
	t.Helper()
	before := l.count(name)
	harnesstest.Eventually(t, func() error {
		if l.count(name) <= before {
			return errors.New("no request is served by " + name)
		}
		return nil
	})
}

func (l *load) count(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[name]
}

// stop stops the load.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// end stops the load and fails the test if any request has failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	t.Logf("served: %v", l.by)
	if len(l.failed) > 0 {
		t.Errorf("%d requests have failed, the first: %+v", len(l.failed), l.failed[0])
	}
}

// clusterStat is one of Envoy's counts of the engines' cluster.
func clusterStat(t *testing.T, e *harness.Envoy, name string) int64 {
	t.Helper()
	full := "cluster." + harness.EngineCluster + "." + name
	page, err := e.Admin(harnesstest.Context(t), "/stats?format=json&filter="+url.QueryEscape("^"+regexp.QuoteMeta(full)+"$"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Stats []struct {
			Name  string
			Value int64
		}
	}
	if err := json.Unmarshal(page, &all); err != nil {
		t.Fatal(err)
	}
	for _, stat := range all.Stats {
		if stat.Name == full {
			return stat.Value
		}
	}
	return 0 // Envoy has some only once they are counted
}
