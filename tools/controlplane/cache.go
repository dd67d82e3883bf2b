package controlplane

import (
	"context"
	"errors"
	"slices"
	"sync"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

// contents are what is served to each cluster. It is a cache of go-control-plane's: its own
// caches know Envoy's types, or serve each type by itself. Safe for concurrent use.
type contents struct {
	// authorize returns the cluster of a node, or why it gets nothing.
	authorize func(node *corev3.Node) (cluster string, err error)

	mu       sync.Mutex
	clusters map[string]*content
	watches  map[*watch]struct{}
}

// watch is a client that waits for a change of one type.
type watch struct {
	cluster string
	// answer sends what is new of c, and reports whether there is anything.
	answer func(c *content) bool
}

func newContents(authorize func(node *corev3.Node) (string, error)) *contents {
	return &contents{authorize: authorize, clusters: map[string]*content{}, watches: map[*watch]struct{}{}}
}

// set changes what a cluster is served; nil is nothing, and leaves its engines with what
// they have.
func (s *contents) set(cluster string, c *content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clusters[cluster] = c; c == nil {
		return
	}
	for w := range s.watches {
		if w.cluster == cluster && w.answer(c) {
			delete(s.watches, w)
		}
	}
}

func (s *contents) get(cluster string) *content {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clusters[cluster]
}

// open answers at once, or when there is something new.
func (s *contents) open(node *corev3.Node, answer func(c *content) bool) (cancel func(), err error) {
	cluster, err := s.authorize(node)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clusters[cluster]; c != nil && answer(c) {
		return nil, nil
	}
	w := &watch{cluster, answer}
	s.watches[w] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches, w)
	}, nil
}

// sentVersion is the key under which a subscription remembers the version that was sent
// last on its stream, which is not the one that was accepted.
const sentVersion = ""

// CreateWatch implements cache.Cache.
func (s *contents) CreateWatch(r *cache.Request, sub cache.Subscription, to chan cache.Response) (func(), error) {
	known, sent := sub.ReturnedResources()[sentVersion]
	if !sent {
		known = r.GetVersionInfo()
	}
	return s.open(r.GetNode(), func(c *content) bool {
		version := c.types[r.GetTypeUrl()]
		if version == "" || version == known {
			return false // not a type that is served, or nothing new
		}
		m := &discoveryv3.DiscoveryResponse{TypeUrl: r.GetTypeUrl(), VersionInfo: version}
		for _, name := range sortedNames(c.resources[r.GetTypeUrl()]) {
			m.Resources = append(m.Resources, c.any(r.GetTypeUrl(), name))
		}
		to <- &cache.PassthroughResponse{Request: r, DiscoveryResponse: m, ReturnedResources: map[string]string{sentVersion: version}}
		return true
	})
}

// CreateDeltaWatch implements cache.Cache.
func (s *contents) CreateDeltaWatch(r *cache.DeltaRequest, sub cache.Subscription, to chan cache.DeltaResponse) (func(), error) {
	known := sub.ReturnedResources()
	// The first request is answered even if there is nothing, so that the engine learns that.
	first := r.GetResponseNonce() == ""
	return s.open(r.GetNode(), func(c *content) bool {
		url := r.GetTypeUrl()
		if c.types[url] == "" {
			return false
		}
		m := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: url, SystemVersionInfo: c.types[url]}
		for _, name := range sortedNames(c.resources[url]) {
			if version := c.versions[url][name]; known[name] != version {
				m.Resources = append(m.Resources, &discoveryv3.Resource{Name: name, Version: version, Resource: c.any(url, name)})
			}
		}
		for name := range known {
			if _, there := c.resources[url][name]; !there {
				m.RemovedResources = append(m.RemovedResources, name)
			}
		}
		slices.Sort(m.RemovedResources)
		if len(m.Resources)+len(m.RemovedResources) == 0 && !first {
			return false
		}
		to <- &cache.DeltaPassthroughResponse{DeltaRequest: r, DeltaDiscoveryResponse: m, NextVersionMap: c.versions[url]}
		return true
	})
}

// Fetch implements cache.Cache.
func (s *contents) Fetch(context.Context, *cache.Request) (cache.Response, error) {
	return nil, errors.New("resources are served over streams alone")
}

var _ cache.Cache = (*contents)(nil)
