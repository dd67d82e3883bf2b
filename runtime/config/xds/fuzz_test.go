package xds_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	discoveryv1 "policyengine.dev/proto/policyengine/discovery/v1"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/config/xds"
)

// FuzzMachine has a control plane send any sequence of messages. However it goes, each
// configuration that is applied is a whole valid one: one that the worker accepts, whose
// every resource was sent, and, outside of partial mode, exactly what was sent last. If the
// control plane serves revisions it is one of those. No answer is made up.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 200, 100, 50}, true, false)
	f.Add([]byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), false, true)
	f.Add([]byte(strings.Repeat("\x10\x21\x40\x05\x60\x70\x08", 12)), true, true)
	f.Add([]byte(strings.Repeat("\x00\x20\x30\x70\x01\x21\x71\x50\x60\x00", 12)), false, false)
	f.Fuzz(func(t *testing.T, script []byte, incremental, partial bool) {
		if len(script) > 300 {
			script = script[:300]
		}
		newRandomPlane(t, script, incremental, partial).play()
	})
}

// randomPlane plays a script of bytes: of each the upper half chooses what to do, and the
// lower half with what.
type randomPlane struct {
	t                    *testing.T
	script               []byte
	incremental, partial bool
	m                    *xds.Machine
	j                    *xds.Judge
	now                  time.Time
	nonce                int
	open                 map[string]bool // nonces that may be answered
	sent                 map[string]bool // contents that were sent on any stream
	applied              int
}

func newRandomPlane(t *testing.T, script []byte, incremental, partial bool) *randomPlane {
	w := newWorker(t)
	r := &randomPlane{t: t, script: script, incremental: incremental, partial: partial, now: time.Unix(1000, 0), open: map[string]bool{}, sent: map[string]bool{}}
	r.m = xds.NewMachine(xds.MachineOptions{Incremental: incremental, Wait: time.Second, Limits: xds.Limits{Resources: 6, Bytes: 2000}})
	r.j = xds.NewJudge(check(w), func(ctx context.Context, u config.Update) error {
		err := apply(w)(ctx, u)
		if err == nil {
			r.check(u)
		}
		return err
	}, partial)
	r.m.Connect("0")
	return r
}

// check holds what came into force to what may.
func (r *randomPlane) check(u config.Update) {
	r.applied++
	if u.Err != nil {
		r.t.Fatalf("a configuration with problems is in force: %v", u.Err)
	}
	if u.LeftOut != nil && !r.partial {
		r.t.Fatalf("a part is in force: %v", u.LeftOut)
	}
	chains := map[string]bool{}
	for _, c := range u.Spec.Chains {
		chains[c.Name] = true
		if key := fmt.Sprintf("chain %s %d", c.Name, c.BodyLimit); !r.sent[key] {
			r.t.Fatalf("%s was never sent", key)
		}
	}
	for _, route := range u.Spec.Routes {
		switch {
		case route.Deny && !r.partial:
			r.t.Fatalf("route %s denies", route.Name)
		case route.Deny:
		case !chains[route.Chain]:
			r.t.Fatalf("route %s has no chain", route.Name)
		case !r.sent["route "+route.Name+" "+route.Chain]:
			r.t.Fatalf("route %s to %s was never sent", route.Name, route.Chain)
		}
	}
}

func (r *randomPlane) play() {
	for _, b := range r.script {
		what, with := b>>4, int(b&15)
		switch {
		case what < 5:
			r.send(xds.ChainType, []proto.Message{&configv1.Chain{Name: fmt.Sprint("c", with%4), BodyLimit: uint64(with)}})
		case what < 9:
			name := []string{"r0", "r1", "a/*", "*/b", "a/**/b", "**"}[with%6]
			r.send(xds.RouteType, []proto.Message{&configv1.Route{Name: name, Chain: fmt.Sprint("c", with%5)}})
		case what == 9:
			r.send(xds.DefaultsType, []proto.Message{&configv1.Defaults{OnUnknownRoute: configv1.OnUnknownRoute(with % 4)}})
		case what == 10:
			r.send(xds.RevisionType, []proto.Message{&discoveryv1.Revision{Version: fmt.Sprint(with), Digest: make([]byte, 30+with%4)}})
		case what == 11: // several at once, some of them bad
			r.send(xds.ChainType, []proto.Message{
				&configv1.Chain{Name: "c0", BodyLimit: uint64(with)}, &configv1.Chain{Name: "c1", BodyLimit: 1 << 63},
				&configv1.Chain{Name: "c2", Policies: []*configv1.Step{{Name: "tester", Version: fmt.Sprint("v", with%3)}}},
			})
		case what == 12:
			r.raw([]string{xds.ChainType, xds.RouteType, xds.DefaultsType, xds.RevisionType, "x"}[with%5], with)
		case what == 13 && with < 8: // a new stream, to the same server or another
			r.open = map[string]bool{}
			r.m.Connect(fmt.Sprint(with % 2))
		default:
			r.now = r.now.Add(time.Duration(with) * 200 * time.Millisecond)
		}
		r.step()
	}
	r.now = r.now.Add(time.Minute)
	r.step()
}

// raw sends what a control plane should not.
func (r *randomPlane) raw(url string, with int) {
	a := &anypb.Any{TypeUrl: url, Value: []byte{byte(with), 0xff, 1}}
	if with > 8 {
		a = content(&configv1.Route{Name: "c0", Chain: "c0"})
	}
	all := []xds.Resource{{Content: a}, {Content: nil}}[:1+with%2]
	if r.incremental {
		all[0].Name = "c0"
	}
	var removed []string
	if with%3 == 0 {
		removed = []string{"c0", "r1"}
	}
	r.respond(xds.Response{TypeURL: url, Version: fmt.Sprint(with), Resources: all, Removed: removed})
}

func (r *randomPlane) send(url string, messages []proto.Message) {
	response := xds.Response{TypeURL: url, Version: fmt.Sprint(len(messages))}
	for _, m := range messages {
		one := xds.Resource{Content: content(m)}
		name := xds.DefaultsName
		switch m := m.(type) {
		case *configv1.Chain:
			name = m.Name
			r.sent[fmt.Sprintf("chain %s %d", m.Name, m.BodyLimit)] = true
		case *configv1.Route:
			name = m.Name
			r.sent["route "+m.Name+" "+m.Chain] = true
		case *discoveryv1.Revision:
			name = xds.RevisionName
		}
		if r.incremental {
			one.Name, one.Version = name, "1"
		}
		response.Resources = append(response.Resources, one)
	}
	r.respond(response)
}

func (r *randomPlane) respond(response xds.Response) {
	r.nonce++
	response.Nonce = fmt.Sprint(r.nonce)
	r.open[response.Nonce] = true
	if err := r.m.Receive(r.now, response); err != nil {
		delete(r.open, response.Nonce)
	}
}

func (r *randomPlane) step() {
	p, requests := r.m.Propose(r.now)
	if p != nil {
		v := r.m.Settled(p)
		if v == nil {
			decided := r.j.Judge(r.t.Context(), p)
			v = &decided
		}
		requests = append(requests, r.m.Judged(r.now, p, *v)...)
	}
	for _, q := range requests {
		if q.Subscribe || !r.open[q.Nonce] {
			r.t.Fatalf("an answer to what was not sent on this stream: %+v", q)
		}
	}
}

// FuzzResource proves that whatever a control plane sends as a resource is taken or refused
// with a reason, and that what is taken is a valid message of its type.
func FuzzResource(f *testing.F) {
	for k, m := range []proto.Message{
		&configv1.Chain{Name: "c", BodyLimit: 1, Policies: []*configv1.Step{{Name: "tester", Version: "v1", Params: `{"a":1}`}}},
		&configv1.Defaults{OnUnknownRoute: 2}, &configv1.Route{Name: "a/*", Chain: "c"}, &discoveryv1.Revision{Version: "1", Digest: make([]byte, 32)},
	} {
		f.Add(uint8(k), "c", content(m).Value)
	}
	f.Fuzz(func(t *testing.T, k uint8, name string, value []byte) {
		url := xds.Types()[int(k)%len(xds.Types())]
		d := newDriver(t, true, nil)
		d.connect("one")
		d.receive(xds.RouteType, "1", "0", nil)
		d.log = nil
		d.receive(url, "1", "1", list(xds.Resource{Name: name, Version: "1", Content: &anypb.Any{TypeUrl: url, Value: value}}))
		d.receive(xds.ChainType, "1", "2", nil)
		d.pass(time.Minute)
		for _, line := range d.log {
			if strings.HasPrefix(line, "nack") && strings.HasSuffix(line, ": ") {
				t.Errorf("a refusal without a reason: %s", line)
			}
		}
	})
}
