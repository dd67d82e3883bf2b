package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/worker"
)

// Options are what a [Source] is made with. Servers, Node and Check are required.
type Options struct {
	Servers                []config.XDSServer
	Dedicated, Incremental bool
	Node                   *corev3.Node
	// Check returns what is wrong with a configuration, and changes nothing. It is called
	// only if Partial is set.
	Check   func(worker.Spec) error
	Partial bool
	// Exit has Run return if the first configuration is refused, or if no server can be
	// reached and there is no kept configuration.
	Exit bool
	Wait time.Duration
	// Keep is the file that the last good configuration is stored in, or empty.
	Keep       string
	KeepMaxAge time.Duration
	// MaxMessage bounds a response, in bytes; 0 is 32 MiB.
	MaxMessage int
	Limits     Limits
	// Backoff is how long to wait after all servers have failed, at first; twice as long
	// each time, up to 30 s. 0 is 500 ms.
	Backoff time.Duration
	// Answer bounds how long a server takes for its first response if it has to send one;
	// 0 is 15 s.
	Answer time.Duration
	Quiet  time.Duration
	Logger *slog.Logger
}

const (
	maxBackoff = 30 * time.Second
	// keptAfter is how long a control plane has for its first configuration before the
	// kept one is put in force.
	keptAfter = 3 * time.Second
	// retryEvery is how often a refused configuration is tried again while none is in
	// force: it may have been refused for what a policy could not reach.
	retryEvery = 10 * time.Second
)

// Source gets chains and routes from a control plane. It is a [config.Source]. Make one
// with [NewSource]. Run is called once; the other methods are safe for concurrent use.
type Source struct {
	options Options
	machine *Machine
	judge   judge
	keeper  *keeper

	// The loop alone uses what follows. inForce says that a configuration is in force.
	inForce bool
	// keptAt is when the kept configuration is put in force if there is none, looked says
	// that it was looked for, and saveAt is when it is stored again.
	keptAt, saveAt time.Time
	looked         bool
	// retryAt is when a refused configuration is tried again.
	retryAt time.Time
	version string
	// waiting and failures are what was logged last.
	waiting, failures string

	mu     sync.Mutex
	status Status
}

// NewSource returns a source that has not connected yet.
func NewSource(o Options) *Source {
	if o.MaxMessage <= 0 {
		o.MaxMessage = 32 << 20
	}
	if o.Backoff <= 0 {
		o.Backoff = 500 * time.Millisecond
	}
	if o.Answer <= 0 {
		o.Answer = 15 * time.Second
	}
	s := &Source{options: o, machine: NewMachine(MachineOptions{Incremental: o.Incremental, Wait: o.Wait, Quiet: o.Quiet, Limits: o.Limits})}
	s.judge = judge{check: o.Check, partial: o.Partial}
	if o.Keep != "" {
		s.keeper = &keeper{path: o.Keep, maxAge: o.KeepMaxAge, node: o.Node.GetId(), cluster: o.Node.GetCluster()}
	}
	s.status.Types = typesOf(s.machine, &s.judge)
	return s
}

// Node is what the source says of the engine.
func (s *Source) Node() *corev3.Node { return s.options.Node }

// Status returns what is known of the control plane.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Waiting, st.Types = slices.Clone(st.Waiting), slices.Clone(st.Types)
	return st
}

func (s *Source) note(f func(st *Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.status)
}

// errLost and the others are why streams are ended.
var (
	errLost     = errors.New("the stream is made again, since the control plane believes the engine to have resources that it refused")
	errSilent   = errors.New("the control plane has not answered")
	errNotReads = errors.New("the control plane does not read")
)

// Run implements [config.Source].
func (s *Source) Run(ctx context.Context, apply func(ctx context.Context, update config.Update) error) error {
	s.judge.apply = apply
	s.keptAt = time.Now().Add(keptAfter)
	delay := backoff{first: s.options.Backoff}
	for at := 0; ctx.Err() == nil; {
		server := s.options.Servers[at]
		useful, err := s.session(ctx, server)
		if ctx.Err() != nil {
			break
		}
		var exit exitError
		if errors.As(err, &exit) {
			return exit.error
		}
		s.failed(server, err)
		if useful {
			at, delay.last = 0, 0
		} else if at++; at < len(s.options.Servers) {
			continue
		} else {
			at = 0
			if s.useKept(ctx); s.options.Exit && !s.inForce {
				return fmt.Errorf("no control plane can be reached: %w", err)
			}
		}
		s.pause(ctx, delay.next(rand.Float64()))
	}
	return nil
}

// backoff is how long to wait between rounds of attempts.
type backoff struct{ first, last time.Duration }

// next returns the next wait: twice the one before, up to a bound, less up to half of it at
// random (from 0 to 1), so that engines that lost a control plane together do not come back
// together.
func (b *backoff) next(random float64) time.Duration {
	b.last = min(max(2*b.last, b.first), maxBackoff)
	return b.last - time.Duration(random*float64(b.last)/2)
}

// exitError ends Run.
type exitError struct{ error }

func (s *Source) failed(server config.XDSServer, err error) {
	s.note(func(st *Status) {
		if st.Connected {
			st.Since = time.Now()
		}
		st.Connected, st.Problem = false, fmt.Sprintf("%s: %v", server.Address, err)
		st.Failures++
	})
	if line := server.Address.String() + err.Error(); line != s.failures {
		s.failures = line
		s.options.Logger.Warn("control plane lost; what is in force stays", slog.String("server", server.Address.String()), slog.Any("error", err))
	}
}

// pause waits between attempts to connect.
func (s *Source) pause(ctx context.Context, d time.Duration) {
	end := time.Now().Add(d)
	for ctx.Err() == nil {
		now := time.Now()
		if !now.Before(end) {
			return
		}
		next := end
		if !s.inForce && !s.looked && s.keptAt.Before(next) {
			next = s.keptAt
		}
		sleep(ctx, next.Sub(now))
		if !time.Now().Before(s.keptAt) {
			s.useKept(ctx)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// event is what the goroutine of a stream tells.
type event struct {
	opened   *stream
	response Response
	err      error
}

// writable is how many requests may wait for a server to read them.
const writable = 256

// session is one connection to a server. It returns whether the server was of use, and why
// the connection has ended.
func (s *Source) session(parent context.Context, server config.XDSServer) (useful bool, err error) {
	ctx, cancel := context.WithCancel(parent)
	events, out := make(chan event), make(chan Request, writable)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { read(ctx, server, s.options, events) })
	// The server owes an answer unless it may have nothing new.
	opened, owes, by := false, true, time.Now().Add(s.options.Answer)
	silent := func() bool { return !opened || owes && !s.machine.Answered() }
	defer func() { useful = !silent() }()
	for {
		timer := time.NewTimer(s.next(silent(), by))
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-timer.C:
		case e := <-events:
			if err = e.err; e.opened != nil {
				requests := s.machine.Connect(server.Address.String())
				opened, owes, by = true, !resumes(requests), time.Now().Add(s.options.Answer)
				all.Go(func() { write(ctx, e.opened, out) })
				s.connected(server)
				err = send(out, requests)
			} else if err == nil {
				err = s.receive(server, e.response)
			}
		}
		timer.Stop()
		if err == nil && silent() && !time.Now().Before(by) {
			err = errSilent
		}
		if err == nil {
			err = s.step(ctx, out)
		}
		if err == nil && s.machine.Lost() {
			sleep(ctx, s.options.Backoff) // the refusal is to be read first
			err = errLost
		}
		if err != nil {
			return false, err
		}
	}
}

// next is how long to wait for an event.
func (s *Source) next(silent bool, by time.Time) time.Duration {
	now := time.Now()
	at, ok := s.machine.Next(now)
	for _, other := range []struct {
		at     time.Time
		counts bool
	}{
		{by, silent}, {s.keptAt, !s.inForce && !s.looked}, {s.retryAt, !s.inForce && !s.retryAt.IsZero()}, {s.saveAt, s.saves()},
	} {
		if other.counts && (!ok || other.at.Before(at)) {
			at, ok = other.at, true
		}
	}
	if !ok {
		return time.Hour
	}
	return max(0, at.Sub(now))
}

func (s *Source) receive(server config.XDSServer, r Response) error {
	s.note(func(st *Status) { st.Responses++ })
	err := s.machine.Receive(time.Now(), r)
	if errors.Is(err, ErrUnknownType) {
		s.options.Logger.Warn("response ignored", slog.String("server", server.Address.String()), slog.Any("error", err))
		s.note(func(st *Status) { st.Problem = err.Error() })
		return nil
	}
	return err
}

// resumes reports whether the requests say that something is known already.
func resumes(requests []Request) bool {
	for _, r := range requests {
		if r.Version != "" {
			return true
		}
		for _, v := range r.Initial {
			if v != "" {
				return true
			}
		}
	}
	return false
}

func (s *Source) connected(server config.XDSServer) {
	s.failures = ""
	s.note(func(st *Status) {
		st.Server, st.Connected, st.Since, st.Problem = server.Address.String(), true, time.Now(), ""
		st.Connects++
	})
	s.options.Logger.Info("control plane connected", slog.String("server", server.Address.String()))
}

// send queues requests, which fails if the server does not read them.
func send(out chan<- Request, requests []Request) error {
	for _, r := range requests {
		select {
		case out <- r:
		default:
			return errNotReads
		}
	}
	return nil
}

// write sends the requests of one stream, until ctx ends.
func write(ctx context.Context, to *stream, out <-chan Request) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-out:
			if err := to.send(r); err != nil {
				return // the reader is told why
			}
		}
	}
}

// read opens a stream and tells what comes on it, until ctx ends.
func read(ctx context.Context, server config.XDSServer, o Options, events chan<- event) {
	tell := func(e event) bool {
		select {
		case events <- e:
			return e.err == nil
		case <-ctx.Done():
			return false
		}
	}
	st, err := open(ctx, server, o)
	if err != nil {
		tell(event{err: err})
		return
	}
	defer st.close()
	if !tell(event{opened: st}) {
		return
	}
	for {
		r, err := st.receive()
		if !tell(event{response: r, err: err}) {
			return
		}
	}
}

// step does what it is time for, and queues the requests that follow from it.
func (s *Source) step(ctx context.Context, out chan<- Request) error {
	now := time.Now()
	if !s.inForce && !now.Before(s.keptAt) {
		s.useKept(ctx)
	}
	if !s.inForce && !s.retryAt.IsZero() && !now.Before(s.retryAt) {
		s.retryAt = time.Time{}
		s.machine.Retry(now)
	}
	p, requests := s.machine.Propose(now)
	s.wait()
	if p != nil {
		var err error
		if requests, err = s.decide(ctx, p, requests); err != nil {
			return err
		}
	}
	if s.saves() && !now.Before(s.saveAt) {
		s.save(now)
	}
	s.note(func(st *Status) {
		for _, r := range requests {
			if r.Refusal != "" {
				st.Refusals++
			} else {
				st.Accepted++
			}
		}
	})
	return send(out, requests)
}

// decide judges a proposal, and returns requests and the answers that follow.
func (s *Source) decide(ctx context.Context, p *Proposal, requests []Request) ([]Request, error) {
	verdict, settled := Verdict{}, s.machine.Settled(p)
	if settled != nil {
		verdict = *settled
	} else {
		verdict = s.judge.judge(ctx, p)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // not the configuration's fault
	}
	first := !s.inForce
	if verdict.Applied {
		s.inForce, s.version = true, p.version
	} else {
		s.retryAt = time.Now().Add(retryEvery)
	}
	requests = append(requests, s.machine.Judged(time.Now(), p, verdict)...)
	types := typesOf(s.machine, &s.judge)
	s.note(func(st *Status) {
		if st.Types, st.Refused = types, ""; verdict.Refused != nil {
			st.Refused = verdict.Refused.Error()
		}
		if verdict.Applied {
			st.Kept = nil
		}
	})
	if first && !verdict.Applied && s.options.Exit {
		return nil, exitError{verdict.Refused}
	}
	if verdict.Applied && settled == nil {
		s.save(time.Now())
	}
	return requests, nil
}

// wait tells what an update waits for, when that changes.
func (s *Source) wait() {
	waiting := s.machine.Waiting()
	s.note(func(st *Status) { st.Waiting = waiting })
	line := strings.Join(waiting, "; ")
	if line != s.waiting && line != "" {
		s.options.Logger.Info("update waits", slog.String("for", line))
	}
	s.waiting = line
}

// useKept puts the kept configuration in force if there is none.
func (s *Source) useKept(ctx context.Context) {
	if s.keeper == nil || s.inForce || s.looked {
		s.looked = true
		return
	}
	s.looked = true
	p, h, ok, err := s.keeper.load(time.Now())
	if ok {
		u := config.Update{}
		u.Spec, _ = p.spec(h.Version)
		u.Positions = u.Spec.Positions
		if err = s.judge.apply(ctx, u); err == nil {
			s.inForce, s.judge.good = true, p
			s.note(func(st *Status) { st.Kept = &Kept{h.Version, h.Saved} })
			s.options.Logger.Warn("no control plane has answered; the kept configuration is in force",
				slog.String("version", h.Version), slog.Time("saved", h.Saved))
			return
		}
	}
	if err != nil {
		s.options.Logger.Error("no kept configuration", slog.Any("error", err))
		s.note(func(st *Status) { st.KeepProblem = err.Error() })
	}
}

// saves reports whether what is in force is known to be what the control plane serves.
func (s *Source) saves() bool {
	return !s.saveAt.IsZero() && s.machine.Answered() && s.machine.refusal == nil
}

// save stores what is in force, and does so again from time to time, since a stored
// configuration is as old as the last time it was known to be the control plane's.
func (s *Source) save(now time.Time) {
	if s.keeper == nil {
		return
	}
	err := s.keeper.save(s.judge.good, s.version, now)
	s.saveAt = now.Add(max(time.Minute, min(time.Hour, s.keeper.maxAge/10)))
	problem := ""
	if err != nil {
		problem = err.Error()
		s.options.Logger.Error("the last good configuration is not stored", slog.Any("error", err))
	}
	s.note(func(st *Status) { st.KeepProblem = problem })
}

var _ config.Source = (*Source)(nil)
