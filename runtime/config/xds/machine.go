package xds

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/strictyaml"
)

// Response is a response of a control plane, in either variant.
type Response struct {
	TypeURL string
	// Version is version_info, or system_version_info in the incremental variant.
	Version string
	Nonce   string
	// Resources are all of the type in the state-of-the-world variant, and otherwise
	// those that have changed.
	Resources []Resource
	// Removed are names of resources that are gone, in the incremental variant.
	Removed []string
}

// Resource is one resource of a response.
type Resource struct {
	// Name and Version are empty in the state-of-the-world variant.
	Name, Version string
	Content       *anypb.Any
}

// Request is a request to a control plane, in either variant.
type Request struct {
	TypeURL string
	// Subscribe says that it is the first of its type on a stream. It asks for all
	// resources.
	Subscribe bool
	// Version is the version in force in the state-of-the-world variant.
	Version string
	// Initial are the versions of the resources that are known already, in the first
	// request of the incremental variant. An empty version has the resource sent again.
	Initial map[string]string
	// Nonce is that of the response which the request answers.
	Nonce string
	// Refusal is why the response was refused, or empty.
	Refusal string
}

// Limits bound what a [Machine] holds. The zero value is the defaults.
type Limits struct {
	// Resources is how many resources of a type there may be; by default what a
	// configuration may have.
	Resources int
	// Bytes is how large the resources of all types may be together; 64 MiB by
	// default.
	Bytes int
}

func (l Limits) resources(k kind) int {
	switch {
	case k == defaults || k == revision:
		return 1
	case l.Resources > 0:
		return l.Resources
	case k == chains:
		return worker.MaxChains
	}
	return worker.MaxRoutes
}

func (l Limits) bytes() int {
	if l.Bytes > 0 {
		return l.Bytes
	}
	return 64 << 20
}

// MachineOptions are what a [Machine] is made with.
type MachineOptions struct {
	// Incremental chooses the variant of the protocol.
	Incremental bool
	// Wait bounds how long an update waits for what it refers to; 0 is 5 s.
	Wait time.Duration
	// Quiet is how long no response must have come before an update is taken that no
	// revision completes; 0 is 100 ms. An update is not put off for more than ten times
	// as long.
	Quiet  time.Duration
	Limits Limits
}

// Machine is the client's side of the protocol without input, output or clock. It keeps
// what a control plane has sent, proposes whole configurations, and answers responses once
// a proposal was judged. One goroutine uses it at a time.
//
// What a control plane has sent is kept though it was refused: the incremental variant
// does not send it again, and what is missing may come later.
type Machine struct {
	options MachineOptions
	server  string
	told    set
	size    int
	// facts are what follows from told and revision.
	facts facts
	// revision is the newest one; nil before the first and after it was removed.
	revision *resource
	types    [kinds]typeState
	// changed says that told has changed, or that responses are to be judged, since the
	// last judgement; since when, and when it changed last.
	changed     bool
	since, last time.Time
	// waits is since when the machine waits for resources.
	waits time.Time
	// judged is the key of what was judged last, if once is set, refusal why it was
	// refused, and repeats how often it came again after that.
	judged  [sha256.Size]byte
	refusal *Verdict
	repeats int
	once    bool
	// judgedAt is when that was.
	judgedAt time.Time
}

// typeState is what is known of one type.
type typeState struct {
	// version is the newest version that was accepted whole, of server.
	version string
	// answered says that the server has answered, on this stream or an earlier one, and
	// now that it has on this one.
	answered, now bool
	// newest is the version of the newest response, and pending are the nonces of the
	// responses that were not answered, in order.
	newest  string
	pending []string
	// refused is the nonce of the newest response if that was refused.
	refused string
	// problem is what is wrong with the newest response as a whole. What it said of
	// resources was not taken then.
	problem *strictyaml.Diagnostic
	// lost says that the server believes that something was told which was not.
	lost bool
	// held are the time until which refusals are held back.
	held time.Time
}

// NewMachine returns a machine that is not connected.
func NewMachine(options MachineOptions) *Machine {
	if options.Wait <= 0 {
		options.Wait = 5 * time.Second
	}
	if options.Quiet <= 0 {
		options.Quiet = 100 * time.Millisecond
	}
	return &Machine{options: options, told: newSet()}
}

// Connect begins a stream to a server, and returns what to send on it first. Servers may
// have different contents under the same version, so that only the server of the last
// stream is told versions.
func (m *Machine) Connect(server string) []Request {
	same := m.server == server
	m.server = server
	if !same {
		// Without these two the engine denies more, until the server has sent its own.
		m.told[defaults], m.revision, m.facts.known = map[string]*resource{}, nil, false
	}
	var requests []Request
	for k := range kinds {
		t := &m.types[k]
		t.now, t.pending, t.refused, t.problem, t.lost, t.held = false, nil, "", nil, false, time.Time{}
		r := Request{TypeURL: urls[k], Subscribe: true}
		if !same {
			t.version, t.answered = "", false
		}
		if m.options.Incremental {
			r.Initial = m.initial(k, same)
		} else {
			r.Version = t.version
		}
		requests = append(requests, r)
	}
	return requests
}

// initial are the versions of the resources that have come.
func (m *Machine) initial(k kind, same bool) map[string]string {
	all := map[string]string{}
	add := func(r *resource) {
		if all[r.name] = r.version; !same || len(r.problems) > 0 {
			all[r.name] = ""
		}
	}
	if k == revision {
		if m.revision != nil {
			add(m.revision)
		}
		return all
	}
	for _, r := range m.told[k] {
		add(r)
	}
	return all
}

// Answered reports whether the server has sent anything on the stream.
func (m *Machine) Answered() bool {
	return slices.ContainsFunc(m.types[:], func(t typeState) bool { return t.now })
}

// Known reports whether a server has sent chains and routes.
func (m *Machine) Known() bool { return m.types[chains].answered && m.types[routes].answered }

// ErrProtocol is what [Machine.Receive] returns for a response that cannot be answered.
// The stream is of no use after a response without a nonce.
var ErrProtocol = errors.New("the control plane breaks the protocol")

// ErrUnknownType is what [Machine.Receive] returns for a type that was not asked for. The
// response is ignored: an answer would ask for the type.
var ErrUnknownType = errors.New("a type that was not asked for")

// Receive takes a response.
func (m *Machine) Receive(now time.Time, r Response) error {
	k, ok := kindOf(r.TypeURL)
	if !ok {
		return fmt.Errorf("%w: %.200q", ErrUnknownType, r.TypeURL)
	}
	if r.Nonce == "" || len(r.Nonce) > maxVersion || len(r.Version) > maxVersion {
		return fmt.Errorf("%w: a response for %s whose nonce has %d and whose version %d bytes; a nonce has 1 to %d bytes, and a version at most as many",
			ErrProtocol, r.TypeURL, len(r.Nonce), len(r.Version), maxVersion)
	}
	t := &m.types[k]
	t.newest, t.pending = r.Version, append(t.pending, r.Nonce)
	if len(t.pending) > maxPending {
		t.pending = t.pending[len(t.pending)-maxPending:]
	}
	t.held, t.refused = time.Time{}, ""
	m.facts.known = false
	if err := m.take(k, r); err != nil {
		t.problem = &strictyaml.Diagnostic{File: words[k] + " response", Problem: err.Error(),
			Remedy: "send each resource once, with its name, within the limits"}
		t.lost = m.options.Incremental
	} else {
		t.problem = nil
		t.answered, t.now = true, true
	}
	if !m.changed {
		m.since = now
	}
	m.changed, m.last = true, now
	return nil
}

// maxPending bounds the nonces that are kept to be answered. A server that does not wait
// for answers gets none for the oldest.
const maxPending = 1000

// take makes the response's resources those of the machine, all or none of them.
func (m *Machine) take(k kind, r Response) error {
	next := map[string]*resource{}
	if n := len(r.Resources) + len(r.Removed); n > 2*m.options.Limits.resources(k) {
		return fmt.Errorf("%d resources in one response", n)
	}
	for _, in := range r.Resources {
		version := in.Version
		if len(version) > maxVersion {
			return fmt.Errorf("a version of %d bytes", len(version))
		}
		one, err := newResource(k, in.Name, version, in.Content)
		if err != nil {
			return err
		}
		if next[one.name] != nil {
			return fmt.Errorf("%s is there twice", one.place())
		}
		next[one.name] = one
	}
	if k == revision {
		for _, name := range r.Removed {
			if name == RevisionName && next[name] == nil {
				m.revision = nil
			}
		}
		if one := next[RevisionName]; one != nil {
			m.revision = one
		} else if !m.options.Incremental {
			m.revision = nil
		}
		return nil
	}
	if m.options.Incremental {
		all := maps.Clone(m.told[k])
		for _, name := range r.Removed {
			if next[name] != nil {
				return fmt.Errorf("%s is sent and removed", place(k, name))
			}
			delete(all, name)
		}
		maps.Copy(all, next)
		next = all
	}
	if most := m.options.Limits.resources(k); len(next) > most {
		return fmt.Errorf("%d resources of the type; at most %d are taken", len(next), most)
	}
	size := m.size - bytesOf(m.told[k]) + bytesOf(next)
	if most := m.options.Limits.bytes(); size > most {
		return fmt.Errorf("the resources of all types have %d bytes; at most %d are taken", size, most)
	}
	for name, r := range next {
		if old := m.told[k][name]; old.same(r) && old.version == r.version && old.kind == r.kind && len(old.problems) == len(r.problems) {
			next[name] = old // one copy is enough
		}
	}
	m.told[k], m.size = next, size
	return nil
}

func bytesOf(all map[string]*resource) (n int) {
	for name, r := range all {
		n += len(name) + len(r.value)
	}
	return n
}

// Proposal is a whole configuration to be judged.
type Proposal struct {
	told set
	sum  [sha256.Size]byte
	// key is a hash of all that the verdict depends on.
	key    [sha256.Size]byte
	spec   worker.Spec
	at     places
	broken strictyaml.Diagnostics
	// whole says that broken has problems of responses as a whole, or of the revision,
	// so that no part of the configuration can be taken.
	whole  bool
	nonces [kinds]string
	// version is the proposal's name.
	version string
}

// Update is the whole configuration, for a [config.Source].
func (p *Proposal) Update() config.Update {
	u := config.Update{Spec: p.spec, Positions: p.at}
	if len(p.broken) > 0 {
		u.Err = p.broken
	}
	return u
}

// Verdict is what was decided about a [Proposal].
type Verdict struct {
	// Refused has the problems for which the newest resources are not in force, or is
	// nil.
	Refused error
	// Applied says that a configuration is in force, be it with last good resources in
	// place of bad ones.
	Applied bool
}

// Next returns when [Machine.Propose] may have something to say, if no response comes
// before that.
func (m *Machine) Next(now time.Time) (at time.Time, ok bool) {
	for _, t := range m.types {
		if !t.held.IsZero() && (!ok || t.held.Before(at)) {
			at, ok = t.held, true
		}
	}
	if !m.changed || !m.Known() && !m.troubled() {
		return at, ok
	}
	due := m.due(now)
	if !ok || due.Before(at) {
		at, ok = due, true
	}
	return at, ok
}

// troubled reports whether a response was wrong as a whole.
func (m *Machine) troubled() bool {
	return slices.ContainsFunc(m.types[:], func(t typeState) bool { return t.problem != nil })
}

// due is when the change is to be proposed. Proposals have a distance, whatever comes.
func (m *Machine) due(now time.Time) time.Time {
	at := m.settled(now)
	if next := m.judgedAt.Add(m.options.Quiet); at.Before(next) {
		return next
	}
	return at
}

// settled is when the change is complete, as far as can be told.
func (m *Machine) settled(now time.Time) time.Time {
	if m.troubled() {
		return now
	}
	if len(m.missing()) > 0 {
		begin := m.waits
		if begin.IsZero() {
			begin = now
		}
		return begin.Add(m.options.Wait)
	}
	if m.revision != nil {
		return now
	}
	quiet := m.options.Quiet
	if !m.types[revision].answered {
		quiet *= firstQuiet // it may still come
	}
	at := m.last.Add(quiet)
	if limit := m.since.Add(10 * quiet); limit.Before(at) {
		at = limit
	}
	return at
}

// firstQuiet is how many times as long an engine waits that does not know whether the
// control plane serves revisions.
const firstQuiet = 3

// Waiting returns what an update is waiting for, or nothing.
func (m *Machine) Waiting() []string {
	switch {
	case !m.changed:
		return nil
	case !m.Known():
		return m.unanswered()
	}
	return m.missing()
}

func (m *Machine) unanswered() (all []string) {
	for _, k := range []kind{chains, routes} {
		if !m.types[k].answered {
			all = append(all, "the control plane has not sent "+words[k]+"s")
		}
	}
	return all
}

// maxMissing is how many things that are waited for are told.
const maxMissing = 10

// facts are what follows from what was told, once known.
type facts struct {
	known   bool
	sum     [sha256.Size]byte
	missing []string
}

// find returns the facts.
func (m *Machine) find() facts {
	if !m.facts.known {
		sum := m.told.digest()
		m.facts = facts{true, sum, m.lacks(sum)}
	}
	return m.facts
}

// missing is what an update still lacks.
func (m *Machine) missing() []string { return m.find().missing }

func (m *Machine) lacks(sum [sha256.Size]byte) (all []string) {
	if r := m.revision; r != nil && len(r.problems) == 0 && string(sum[:]) != string(r.revision.Digest) {
		return []string{fmt.Sprintf("the resources of revision %s", r.revision.Version)}
	}
	for _, name := range slices.Sorted(maps.Keys(m.told[routes])) {
		r := m.told[routes][name]
		if len(r.problems) > 0 || m.told[chains][r.route.Chain] != nil {
			continue
		}
		if len(all) == maxMissing {
			return append(all, "and more")
		}
		all = append(all, fmt.Sprintf("%s, to which %s refers", place(chains, r.route.Chain), r.place()))
	}
	return all
}

// Propose returns a configuration to be judged, if it is time for one, and answers that
// were held back.
func (m *Machine) Propose(now time.Time) (*Proposal, []Request) {
	requests := m.release(now)
	if !m.changed || !m.Known() && !m.troubled() {
		return nil, requests
	}
	missing := m.missing()
	if len(missing) == 0 {
		m.waits = time.Time{}
	} else if m.waits.IsZero() {
		m.waits = now
	}
	if now.Before(m.due(now)) {
		return nil, requests
	}
	p := &Proposal{told: m.told.clone(), sum: m.find().sum}
	p.version = shortVersion(p.sum)
	for k, t := range m.types {
		if n := len(t.pending); n > 0 {
			p.nonces[k] = t.pending[n-1]
		}
		if t.problem != nil {
			p.broken.Add(*t.problem)
			p.whole = true
		}
	}
	if r := m.revision; r != nil {
		if p.broken.Add(r.diagnostics()...); len(r.problems) > 0 {
			p.whole = true
		} else {
			p.version = r.revision.Version
			if string(r.revision.Digest) != string(p.sum[:]) {
				p.broken.Add(strictyaml.Diagnostic{File: r.place(), Path: "digest",
					Problem: fmt.Sprintf("the chains, routes and defaults that have come are not those of revision %s", r.revision.Version),
					Remedy:  fmt.Sprintf("send all of them within %s, and a digest over them as they are sent", m.options.Wait)})
				p.whole = true
			}
		}
	}
	p.key = p.sum
	if p.whole {
		p.key = sha256.Sum256(append(p.sum[:], p.broken.Error()...))
	}
	full := plan{set: m.told}
	p.broken.Add(full.problems()...)
	p.spec, p.at = full.spec(p.version)
	m.changed = false
	m.waits = time.Time{}
	return p, requests
}

// Settled returns the verdict on a proposal that says what was judged last, so that it
// need not be judged again.
func (m *Machine) Settled(p *Proposal) *Verdict {
	if !m.once || p.key != m.judged {
		return nil
	}
	if m.refusal != nil {
		return m.refusal
	}
	return &Verdict{Applied: true}
}

// Retry has what was told proposed again, such as when nothing is in force yet.
func (m *Machine) Retry(now time.Time) {
	if m.Known() && !m.changed {
		m.changed, m.since, m.last, m.once = true, now, now, false
	}
}

// Judged takes the verdict on a proposal, and returns the answers to its responses.
func (m *Machine) Judged(now time.Time, p *Proposal, v Verdict) []Request {
	again := m.once && m.judged == p.key && m.refusal != nil && v.Refused != nil
	m.judged, m.once, m.refusal = p.key, true, nil
	if v.Refused != nil {
		m.refusal = &v
	}
	if !again {
		m.repeats = 0
	} else {
		m.repeats++
	}
	m.judgedAt = now
	var requests []Request
	for k := range kinds {
		t := &m.types[k]
		refusal := m.refusalOf(k, v)
		last := slices.Index(t.pending, p.nonces[k])
		if last < 0 {
			// None, or of a stream that has ended. What was refused for what it lacked
			// may be good by now.
			if t.refused != "" && refusal == "" && len(t.pending) == 0 {
				t.pending = []string{t.refused}
				requests = append(requests, m.answer(k, 1, "")...)
			}
			continue
		}
		if refusal != "" && again {
			// A control plane that sends again what was refused is slowed down: it
			// is to wait for the answer.
			t.held = now.Add(min(time.Second<<min(m.repeats-1, 5), 30*time.Second))
			continue
		}
		requests = append(requests, m.answer(k, last+1, refusal)...)
	}
	return requests
}

// release returns the refusals that have been held back long enough.
func (m *Machine) release(now time.Time) (requests []Request) {
	for k := range kinds {
		t := &m.types[k]
		if t.held.IsZero() || now.Before(t.held) {
			continue
		}
		t.held = time.Time{}
		if m.refusal != nil {
			requests = append(requests, m.answer(k, len(t.pending), m.refusalOf(k, *m.refusal))...)
		}
	}
	return requests
}

// answer answers the first n pending responses of a type. In the state-of-the-world variant
// an answer to the newest is one to all.
func (m *Machine) answer(k kind, n int, refusal string) (requests []Request) {
	t := &m.types[k]
	nonces := t.pending[:n]
	if !m.options.Incremental && n > 0 {
		nonces = nonces[n-1:]
	}
	if refusal == "" && n == len(t.pending) {
		t.version = t.newest
	}
	for _, nonce := range nonces {
		r := Request{TypeURL: urls[k], Nonce: nonce, Refusal: refusal}
		if !m.options.Incremental {
			r.Version = t.version
		}
		requests = append(requests, r)
	}
	t.pending = t.pending[n:]
	if t.refused = ""; refusal != "" && len(t.pending) == 0 && n > 0 {
		t.refused = nonces[len(nonces)-1]
	}
	return requests
}

// maxRefusal is how long a refusal may be, in bytes.
const maxRefusal = 8 << 10

// refusalOf is why the newest response of a type is refused, or empty. If nothing of a
// configuration was applied each of its responses is refused.
func (m *Machine) refusalOf(k kind, v Verdict) string {
	if v.Refused == nil {
		return ""
	}
	if !v.Applied {
		return shorten(v.Refused.Error())
	}
	var own []string
	for _, d := range diagnosticsOf(v.Refused) {
		if of, _, _ := strings.Cut(d.File, " "); of == words[k] {
			own = append(own, d.Error())
		}
	}
	return shorten(strings.Join(own, "\n"))
}

func shorten(s string) string {
	if len(s) > maxRefusal {
		s = strings.ToValidUTF8(s[:maxRefusal], "") + "\nand more"
	}
	return s
}

// Lost reports that the server believes the engine to have resources that it does not
// have, so that the stream has to be made again.
func (m *Machine) Lost() bool {
	return slices.ContainsFunc(m.types[:], func(t typeState) bool { return t.lost && len(t.pending) == 0 })
}

// diagnosticsOf are the problems that an error consists of.
func diagnosticsOf(err error) strictyaml.Diagnostics {
	var all strictyaml.Diagnostics
	if errors.As(err, &all) {
		return all
	}
	var problems worker.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			all.Add(strictyaml.Diagnostic{File: p.At.Source, Path: p.At.Field, Problem: p.Message, Remedy: p.Remedy})
		}
		return all
	}
	return strictyaml.Diagnostics{{Problem: err.Error()}}
}

func problemsOf(err error) worker.Problems {
	var problems worker.Problems
	errors.As(err, &problems)
	return problems
}
