package xds

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	discoveryv1 "policyengine.dev/proto/policyengine/discovery/v1"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/schema"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/strictyaml"
)

// The types of resources, by their URLs.
const (
	ChainType    = "type.googleapis.com/policyengine.config.v1.Chain"
	RouteType    = "type.googleapis.com/policyengine.config.v1.Route"
	DefaultsType = "type.googleapis.com/policyengine.config.v1.Defaults"
	RevisionType = "type.googleapis.com/policyengine.discovery.v1.Revision"
)

// The names of the resources of which there is one.
const (
	DefaultsName = "defaults"
	RevisionName = "revision"
)

// kind is a type of resources.
type kind uint8

// The kinds, in the order of their URLs but for the revision, which has no part in its
// own digest.
const (
	chains kind = iota
	defaults
	routes
	revision
	kinds
)

// urls are the types' URLs, and words what messages call a resource of the type.
var (
	urls  = [kinds]string{ChainType, DefaultsType, RouteType, RevisionType}
	words = [kinds]string{"chain", "defaults", "route", "revision"}
)

// Types are the URLs of all types of resources, in the order in which an engine asks for
// them.
func Types() []string { return slices.Clone(urls[:]) }

func kindOf(url string) (kind, bool) {
	i := slices.Index(urls[:], url)
	return kind(i), i >= 0
}

// maxName is how long the name of a resource may be, in bytes, and maxVersion how long a
// version or a nonce.
const (
	maxName    = 1024
	maxVersion = 1024
	// maxRevision is how long the version of a revision may be.
	maxRevision = 128
)

// resource is one resource as a control plane has sent it. It is immutable.
type resource struct {
	kind kind
	name string
	// version is the resource's own, in the incremental variant.
	version string
	// value are the bytes of the message, and sum a hash of them.
	value []byte
	sum   [sha256.Size]byte
	// problems are what is wrong with the resource by itself. Without any, one of the
	// following is what it says.
	problems []schema.Problem
	chain    worker.ChainSpec
	route    worker.RouteSpec
	unknown  worker.UnknownRoute
	revision *discoveryv1.Revision
}

// place is how messages refer to the resource.
func (r *resource) place() string { return place(r.kind, r.name) }

func place(k kind, name string) string {
	if k == defaults || k == revision {
		return words[k]
	}
	return words[k] + " " + strconv.Quote(name)
}

// same reports whether two resources say the same.
func (r *resource) same(o *resource) bool { return r == o || r != nil && o != nil && r.sum == o.sum }

// newResource decodes a resource. name is empty in the variant that does not send names
// apart from contents. The error is about a resource that cannot even be named.
func newResource(k kind, name, version string, content *anypb.Any) (*resource, error) {
	if content == nil {
		return nil, fmt.Errorf("a %s without content", words[k])
	}
	r := &resource{kind: k, name: name, version: version, value: content.Value, sum: sha256.Sum256(content.Value)}
	var m interface {
		proto.Message
	}
	switch k {
	case chains:
		m = &configv1.Chain{}
	case routes:
		m = &configv1.Route{}
	case defaults:
		m = &configv1.Defaults{}
	default:
		m = &discoveryv1.Revision{}
	}
	if content.TypeUrl != urls[k] {
		return r.bad(fmt.Sprintf("a resource of the type %.200q in a response for %s", content.TypeUrl, urls[k]), "send each type in responses of its own")
	}
	if err := proto.Unmarshal(content.Value, m); err != nil {
		return r.bad("the content is not a message of the type", "send a "+string(m.ProtoReflect().Descriptor().FullName()))
	}
	own := ""
	switch m := m.(type) {
	case *configv1.Chain:
		own, r.chain = m.Name, config.ChainSpec(m)
	case *configv1.Route:
		own, r.route = m.Name, config.RouteSpec(m)
	case *configv1.Defaults:
		own, r.unknown = DefaultsName, config.UnknownRoute(m)
	case *discoveryv1.Revision:
		own, r.revision = RevisionName, m
		r.problems = checkRevision(m)
	}
	if r.name == "" {
		r.name = own
	}
	if r.name == "" {
		return nil, fmt.Errorf("a %s without a name", words[k])
	}
	if len(r.name) > maxName {
		return nil, fmt.Errorf("a %s with a name of %d bytes, at most %d are taken", words[k], len(r.name), maxName)
	}
	if own != r.name {
		return r.bad(fmt.Sprintf("the content's name is %.200q", own), "give the resource and its content the same name")
	}
	r.problems = append(r.problems, schema.Check(m)...)
	return r, nil
}

func (r *resource) bad(message, remedy string) (*resource, error) {
	if r.name == "" {
		return nil, fmt.Errorf("a %s that cannot be named: %s; %s", words[r.kind], message, remedy)
	}
	r.problems = append(r.problems, schema.Problem{Message: message, Remedy: remedy})
	return r, nil
}

func checkRevision(r *discoveryv1.Revision) (found []schema.Problem) {
	if !printable(r.Version) || len(r.Version) > maxRevision {
		found = append(found, schema.Problem{Path: "version", Message: "not the version of a revision",
			Remedy: fmt.Sprintf("write 1 to %d printable ASCII characters without spaces", maxRevision)})
	}
	if len(r.Digest) != sha256.Size {
		found = append(found, schema.Problem{Path: "digest", Message: fmt.Sprintf("a digest of %d bytes", len(r.Digest)), Remedy: "write a SHA-256"})
	}
	return found
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// set is the resources of the types that make a configuration, by name.
type set [revision]map[string]*resource

func newSet() (s set) {
	for k := range s {
		s[k] = map[string]*resource{}
	}
	return s
}

func (s set) clone() (c set) {
	for k := range s {
		c[k] = maps.Clone(s[k])
	}
	return c
}

// digest is a hash over the set, as [discoveryv1.Revision] has it.
func (s set) digest() (sum [sha256.Size]byte) {
	h := sha256.New()
	for k, all := range s {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			hashText(h, urls[k])
			hashText(h, name)
			h.Write(all[name].sum[:])
		}
	}
	h.Sum(sum[:0])
	return sum
}

func hashText(h hash.Hash, s string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	h.Write(n[:])
	h.Write([]byte(s))
}

// Digest returns the digest of a revision with these resources, for a control plane. They
// are by type URL and name, and the values are those of the messages' Anys.
func Digest(resources map[string]map[string][]byte) []byte {
	s := newSet()
	for url, all := range resources {
		k, ok := kindOf(url)
		if !ok || k == revision {
			continue
		}
		for name, value := range all {
			s[k][name] = &resource{sum: sha256.Sum256(value)}
		}
	}
	sum := s.digest()
	return sum[:]
}

// plan is a configuration that is put together from resources.
type plan struct {
	set set
	// deny are routes that are denied since there is no good version of them or of
	// their chains.
	deny map[string]bool
}

// spec is the configuration in the order of names.
func (p plan) spec(version string) (worker.Spec, places) {
	spec := worker.Spec{Version: version}
	var at places
	at.chains = slices.Sorted(maps.Keys(p.set[chains]))
	for _, name := range at.chains {
		spec.Chains = append(spec.Chains, named(p.set[chains][name]))
		at.broken = at.broken || len(p.set[chains][name].problems) > 0
	}
	at.routes = slices.Sorted(maps.Keys(p.set[routes]))
	for name := range p.deny {
		if p.set[routes][name] == nil {
			at.routes = append(at.routes, name)
		}
	}
	slices.Sort(at.routes)
	for _, name := range at.routes {
		r := worker.RouteSpec{Name: name, Deny: true}
		if !p.deny[name] {
			r = p.set[routes][name].route
			r.Name = name
		}
		spec.Routes = append(spec.Routes, r)
	}
	if d := p.set[defaults][DefaultsName]; d != nil {
		spec.OnUnknownRoute = d.unknown
	}
	spec.Positions = at
	return spec, at
}

// named is the resource's chain. One that could not be decoded has its name all the same.
func named(r *resource) worker.ChainSpec {
	c := r.chain
	c.Name = r.name
	return c
}

// problems are those of the resources by themselves.
func (p plan) problems() (found strictyaml.Diagnostics) {
	for _, all := range p.set {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			found.Add(all[name].diagnostics()...)
		}
	}
	return found
}

func (r *resource) diagnostics() (found strictyaml.Diagnostics) {
	for _, problem := range r.problems {
		found.Add(strictyaml.Diagnostic{File: r.place(), Path: problem.Path, Problem: problem.Message, Remedy: problem.Remedy})
	}
	return found
}

// shortVersion names a configuration by its content.
func shortVersion(sum [sha256.Size]byte) string { return "sha256:" + hex.EncodeToString(sum[:8]) }
