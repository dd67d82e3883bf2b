package xds_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	discoveryv1 "policyengine.dev/proto/policyengine/discovery/v1"
	"policyengine.dev/runtime/config/xds"
)

// driver plays a control plane against a machine, and records what the machine does.
type driver struct {
	t           *testing.T
	m           *xds.Machine
	incremental bool
	now         time.Time
	// applied are the configurations that were put in force, and log what the machine
	// sent, since the last check.
	log []string
	// refuse decides about proposals that are valid by themselves.
	refuse func(p *xds.Proposal) error
}

func newDriver(t *testing.T, incremental bool, change func(*xds.MachineOptions)) *driver {
	o := xds.MachineOptions{Incremental: incremental, Wait: 5 * time.Second, Quiet: 100 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	return &driver{t: t, m: xds.NewMachine(o), incremental: incremental, now: time.Unix(1000, 0)}
}

func short(url string) string {
	name := url[strings.LastIndexByte(url, '.')+1:]
	return strings.ToLower(name)
}

func (d *driver) sent(requests []xds.Request) {
	for _, r := range requests {
		line := "ack"
		switch {
		case r.Subscribe:
			line = "subscribe"
		case r.Refusal != "":
			line = "nack"
		}
		line += " " + short(r.TypeURL)
		if r.Nonce != "" {
			line += " nonce=" + r.Nonce
		}
		if r.Version != "" {
			line += " version=" + r.Version
		}
		if len(r.Initial) > 0 {
			line += fmt.Sprintf(" initial=%v", r.Initial)
		}
		if r.Refusal != "" {
			line += ": " + r.Refusal
		}
		d.log = append(d.log, line)
	}
}

func (d *driver) connect(server string) { d.sent(d.m.Connect(server)) }

func (d *driver) receive(url, version, nonce string, resources []xds.Resource, removed ...string) {
	if err := d.m.Receive(d.now, xds.Response{TypeURL: url, Version: version, Nonce: nonce, Resources: resources, Removed: removed}); err != nil {
		d.log = append(d.log, "error: "+err.Error())
	}
	d.step()
}

// step has the machine do what it is time for.
func (d *driver) step() {
	p, requests := d.m.Propose(d.now)
	d.sent(requests)
	if p == nil {
		return
	}
	v := xds.Verdict{Applied: true}
	if settled := d.m.Settled(p); settled != nil {
		v = *settled
	} else {
		u := p.Update()
		err := u.Err
		if err == nil && d.refuse != nil {
			err = d.refuse(p)
		}
		if err != nil {
			v = xds.Verdict{Refused: err}
			d.log = append(d.log, "refused "+u.Spec.Version)
		} else {
			var has []string
			for _, c := range u.Spec.Chains {
				text := c.Name
				if c.BodyLimit > 0 {
					text += fmt.Sprintf("(%d)", c.BodyLimit)
				}
				has = append(has, text)
			}
			for _, r := range u.Spec.Routes {
				has = append(has, r.Name+"->"+r.Chain)
			}
			d.log = append(d.log, "in force: "+strings.Join(has, " "))
		}
	}
	d.sent(d.m.Judged(d.now, p, v))
}

// pass lets time pass, in the machine's own steps.
func (d *driver) pass(length time.Duration) {
	end := d.now.Add(length)
	for range 1000 {
		at, ok := d.m.Next(d.now)
		if !ok || at.After(end) {
			d.now = end
			return
		}
		if at.After(d.now) {
			d.now = at
		}
		d.step()
	}
	d.t.Fatal("the machine does not come to rest")
}

func (d *driver) want(lines ...string) {
	d.t.Helper()
	for i := range min(len(lines), len(d.log)) {
		if begin, open := strings.CutSuffix(lines[i], "..."); open && strings.HasPrefix(d.log[i], begin) {
			d.log[i] = lines[i]
		}
	}
	if diff := cmp.Diff(lines, d.log); diff != "" {
		d.t.Fatalf("(-want +got):\n%s", diff)
	}
	d.log = nil
}

func content(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

// chain and route are resources as the variant of d sends them.
func (d *driver) chain(name string, limit uint64) xds.Resource {
	return d.resource(name, fmt.Sprint(limit), &configv1.Chain{Name: name, BodyLimit: limit})
}

func (d *driver) route(name, chain string) xds.Resource {
	return d.resource(name, chain, &configv1.Route{Name: name, Chain: chain})
}

func (d *driver) resource(name, version string, m proto.Message) xds.Resource {
	if !d.incremental {
		name, version = "", ""
	}
	return xds.Resource{Name: name, Version: version, Content: content(m)}
}

func list(r ...xds.Resource) []xds.Resource { return r }

// begun is a driver whose machine has chain a and route r in force.
func begun(t *testing.T, incremental bool) *driver {
	d := newDriver(t, incremental, nil)
	d.connect("one")
	d.receive(xds.ChainType, "c1", "n1", list(d.chain("a", 1)))
	d.receive(xds.RouteType, "r1", "n2", list(d.route("r", "a")))
	d.pass(time.Second)
	d.log = nil
	return d
}

// version is the version with which an answer comes in the state-of-the-world variant.
func (d *driver) version(v string) string {
	if d.incremental || v == "" {
		return ""
	}
	return " version=" + v
}

func bothVariants(t *testing.T, f func(t *testing.T, incremental bool)) {
	for _, incremental := range []bool{false, true} {
		t.Run(map[bool]string{false: "state of the world", true: "incremental"}[incremental], func(t *testing.T) { f(t, incremental) })
	}
}

// TestObligations has one test for each thing that the protocol's documentation asks of a
// client, in both variants.
func TestObligations(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(d *driver)
	}{
		{"each type is asked for once on a stream, as a whole", func(d *driver) {
			d.connect("one")
			d.want("subscribe chain", "subscribe defaults", "subscribe route", "subscribe revision")
		}},
		{"a response is acknowledged with its own nonce and its type's version", func(d *driver) {
			d.connect("one")
			d.log = nil
			d.receive(xds.ChainType, "c7", "x1", list(d.chain("a", 1)))
			d.receive(xds.RouteType, "r9", "x2", list(d.route("r", "a")))
			d.want()
			d.pass(time.Second)
			d.want("in force: a(1) r->a", "ack chain nonce=x1"+d.version("c7"), "ack route nonce=x2"+d.version("r9"))
		}},
		{"a refusal names resource, field and problem, and the version that stays", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c2", "n3", list(d.resource("a", "2", &configv1.Chain{Name: "a", Policies: []*configv1.Step{{Name: "p"}}})))
			d.pass(time.Second)
			d.want("refused sha256:...", "nack chain nonce=n3"+d.version("c1")+`: chain "a": policies[0].version: missing; this field is required`)
		}},
		{"what was refused is mended by the next response", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c2", "n3", list(d.resource("a", "2", &configv1.Chain{Name: "a", BodyLimit: 1 << 63})))
			d.pass(time.Second)
			d.log = nil
			d.receive(xds.ChainType, "c3", "n4", list(d.chain("a", 3)))
			d.pass(time.Second)
			d.want("in force: a(3) r->a", "ack chain nonce=n4"+d.version("c3"))
		}},
		{"good content that returns after a refusal is in force again", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c2", "n3", list(d.resource("a", "2", &configv1.Chain{Name: "a", BodyLimit: 1 << 63})))
			d.pass(time.Second)
			d.log = nil
			d.receive(xds.ChainType, "c1", "n4", list(d.chain("a", 1)))
			d.pass(time.Second)
			d.want("in force: a(1) r->a", "ack chain nonce=n4"+d.version("c1"))
		}},
		{"bad content that returns is refused without being judged again, and slower each time", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			bad := list(d.resource("a", "2", &configv1.Chain{Name: "a", BodyLimit: 1 << 63}))
			d.receive(xds.ChainType, "c2", "n3", bad)
			d.pass(time.Second)
			d.log = nil
			for i, held := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
				nonce := fmt.Sprint("again", i)
				d.receive(xds.ChainType, "c2", nonce, bad)
				d.pass(held)
				d.want()
				d.pass(time.Second / 2)
				d.want("nack chain nonce=" + nonce + d.version("c1") + ": ...")
			}
		}},
		{"a resource that is gone is removed", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			if d.incremental {
				d.receive(xds.RouteType, "r2", "n3", nil, "r")
			} else {
				d.receive(xds.RouteType, "r2", "n3", nil)
			}
			d.pass(time.Second)
			d.want("in force: a(1)", "ack route nonce=n3"+d.version("r2"))
		}},
		{"after a reconnection the server is told what is there", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.connect("one")
			if d.incremental {
				d.want("subscribe chain initial=map[a:1]", "subscribe defaults", "subscribe route initial=map[r:a]", "subscribe revision")
			} else {
				d.want("subscribe chain version=c1", "subscribe defaults", "subscribe route version=r1", "subscribe revision")
			}
		}},
		{"a resource that was refused is not told as one that is there", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c2", "n3", list(d.resource("a", "2", &configv1.Chain{Name: "a", BodyLimit: 1 << 63})))
			d.pass(time.Second)
			d.log = nil
			d.connect("one")
			if d.incremental {
				d.want("subscribe chain initial=map[a:]", "subscribe defaults", "subscribe route initial=map[r:a]", "subscribe revision")
			} else {
				d.want("subscribe chain version=c1", "subscribe defaults", "subscribe route version=r1", "subscribe revision")
			}
		}},
		{"another server's versions mean nothing", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.connect("two")
			if d.incremental {
				d.want("subscribe chain initial=map[a:]", "subscribe defaults", "subscribe route initial=map[r:]", "subscribe revision")
			} else {
				d.want("subscribe chain", "subscribe defaults", "subscribe route", "subscribe revision")
			}
			// Its chains are not put together with the first one's routes.
			d.receive(xds.ChainType, "c1", "m1", list(d.chain("a", 2)))
			d.pass(time.Minute)
			d.want()
			d.receive(xds.RouteType, "r1", "m2", list(d.route("r", "a")))
			d.pass(time.Second)
			d.want("in force: a(2) r->a", "ack chain nonce=m1"+d.version("c1"), "ack route nonce=m2"+d.version("r1"))
		}},
		{"nonces of an earlier stream are not answered", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c2", "old", list(d.chain("a", 2)))
			d.connect("one")
			d.log = nil
			d.pass(time.Second)
			d.want("in force: a(2) r->a")
		}},
		{"of several responses of a type the newest counts", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c2", "n3", list(d.chain("a", 2)))
			d.receive(xds.ChainType, "c3", "n4", list(d.chain("a", 3)))
			d.pass(time.Second)
			if d.incremental {
				d.want("in force: a(3) r->a", "ack chain nonce=n3", "ack chain nonce=n4")
			} else {
				d.want("in force: a(3) r->a", "ack chain nonce=n4 version=c3")
			}
		}},
		{"a version that comes again with other content counts by its content", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c1", "n3", list(d.chain("a", 2)))
			d.pass(time.Second)
			d.want("in force: a(2) r->a", "ack chain nonce=n3"+d.version("c1"))
		}},
		{"a nonce that comes again is answered again", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c2", "n1", list(d.chain("a", 2)))
			d.pass(time.Second)
			d.want("in force: a(2) r->a", "ack chain nonce=n1"+d.version("c2"))
		}},
		{"a response without a nonce ends the stream", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c2", "", list(d.chain("a", 2)))
			d.want("error: the control plane breaks the protocol: ...")
		}},
		{"a type that was not asked for is ignored", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive("type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "1", "n3", nil)
			d.pass(time.Minute)
			d.want("error: a type that was not asked for: ...")
		}},
		{"a resource of another type is refused", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c2", "n3", list(d.route("a", "a")))
			d.pass(time.Second)
			d.want("refused sha256:...", "nack chain nonce=n3"+d.version("c1")+": chain...")
		}},
		{"content that cannot be decoded is refused", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			r := d.chain("a", 1)
			r.Content.Value = []byte{0xff}
			d.receive(xds.ChainType, "c2", "n3", list(r))
			d.pass(time.Second)
			d.want("refused sha256:...", "nack chain nonce=n3"+d.version("c1")+": chain...")
		}},
		{"a resource that is there twice is refused", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c2", "n3", list(d.chain("a", 1), d.chain("a", 2)))
			d.pass(time.Second)
			d.want("refused sha256:...", "nack chain nonce=n3"+d.version("c1")+`: chain response: chain "a" is there twice; ...`)
			if d.m.Lost() != d.incremental {
				d.t.Errorf("the stream has to be made again: %v", d.m.Lost())
			}
		}},
		{"more resources than the bound are refused, and nothing of them is kept", func(d *driver) {
			*d = *newDriver(d.t, d.incremental, func(o *xds.MachineOptions) { o.Limits.Resources = 1 })
			d.connect("one")
			d.receive(xds.RouteType, "r1", "n1", list(d.route("r", "a")))
			d.receive(xds.ChainType, "c1", "n2", list(d.chain("a", 1)))
			d.pass(time.Second)
			d.log = nil
			d.receive(xds.ChainType, "c2", "n3", list(d.chain("a", 1), d.chain("b", 1)))
			d.pass(time.Second)
			d.want("refused sha256:...", "nack chain nonce=n3"+d.version("c1")+": chain response: 2 resources of the type; at most 1 are taken; ...")
		}},
		{"more bytes than the bound are refused", func(d *driver) {
			*d = *newDriver(d.t, d.incremental, func(o *xds.MachineOptions) { o.Limits.Bytes = 100 })
			d.connect("one")
			d.log = nil
			d.receive(xds.ChainType, "c1", "n1", list(d.chain(strings.Repeat("x", 90), 1)))
			d.want("refused sha256:...", "nack chain nonce=n1: chain response: the resources of all types have ...")
		}},
		{"a name that is too long is refused", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.ChainType, "c2", "n3", list(d.chain(strings.Repeat("x", 1025), 1)))
			d.pass(time.Second)
			d.want("refused sha256:...", "nack chain nonce=n3"+d.version("c1")+": chain response: a chain with a name of 1025 bytes, ...")
		}},
		{"a reference that comes later is waited for", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.receive(xds.RouteType, "r2", "n3", list(d.route("r", "b")))
			d.pass(4 * time.Second)
			d.want()
			if got := strings.Join(d.m.Waiting(), ";"); got != `chain "b", to which route "r" refers` {
				d.t.Errorf("waits for %q", got)
			}
			d.receive(xds.ChainType, "c2", "n4", list(d.chain("a", 1), d.chain("b", 1)))
			d.pass(time.Second)
			d.want("in force: a(1) b(1) r->b", "ack chain nonce=n4"+d.version("c2"), "ack route nonce=n3"+d.version("r2"))
		}},
		{"a reference that does not come is refused in the end, and taken if it comes after all", func(d *driver) {
			*d = *begun(d.t, d.incremental)
			d.refuse = func(p *xds.Proposal) error {
				for _, c := range p.Update().Spec.Chains {
					if c.Name == "b" {
						return nil
					}
				}
				return errors.New("no chain b")
			}
			d.receive(xds.RouteType, "r2", "n3", list(d.route("r", "b")))
			d.pass(6 * time.Second)
			d.want("refused sha256:...", "nack route nonce=n3"+d.version("r1")+": no chain b")
			d.receive(xds.ChainType, "c2", "n4", list(d.chain("a", 1), d.chain("b", 1)))
			d.pass(time.Second)
			d.want("in force: a(1) b(1) r->b", "ack chain nonce=n4"+d.version("c2"), "ack route nonce=n3"+d.version("r2"))
		}},
		{"a configuration is not complete before chains and routes have come", func(d *driver) {
			d.connect("one")
			d.log = nil
			d.receive(xds.ChainType, "c1", "n1", list(d.chain("a", 1)))
			d.pass(time.Minute)
			d.want()
			if got := strings.Join(d.m.Waiting(), ";"); got != "the control plane has not sent routes" {
				d.t.Errorf("waits for %q", got)
			}
		}},
		{"a revision holds together what comes in several responses", func(d *driver) {
			d.connect("one")
			d.log = nil
			d.receive(xds.RevisionType, "1", "n1", list(d.revision("first", 1)))
			d.receive(xds.ChainType, "1", "n2", list(d.chain("a", 1)))
			d.receive(xds.RouteType, "1", "n3", list(d.route("r", "a")))
			d.want("in force: a(1) r->a", "ack chain nonce=n2"+d.version("1"), "ack route nonce=n3"+d.version("1"), "ack revision nonce=n1"+d.version("1"))
			d.pass(time.Second)
			d.receive(xds.ChainType, "2", "n4", list(d.chain("a", 2)))
			d.pass(4 * time.Second)
			d.want() // by itself it would be whole
			d.receive(xds.RevisionType, "2", "n5", list(d.revision("second", 2)))
			d.want("in force: a(2) r->a", "ack chain nonce=n4"+d.version("2"), "ack revision nonce=n5"+d.version("2"))
		}},
		{"resources that are not those of the revision are refused in the end", func(d *driver) {
			d.connect("one")
			d.log = nil
			d.receive(xds.RevisionType, "1", "n1", list(d.revision("first", 7)))
			d.receive(xds.ChainType, "1", "n2", list(d.chain("a", 1)))
			d.receive(xds.RouteType, "1", "n3", list(d.route("r", "a")))
			d.pass(6 * time.Second)
			d.want("refused first", "nack chain nonce=n2: revision: digest: ...", "nack route nonce=n3: revision: digest: ...", "nack revision nonce=n1: revision: digest: ...")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothVariants(t, func(t *testing.T, incremental bool) { c.play(newDriver(t, incremental, nil)) })
		})
	}
}

// revision is one over chain a with a limit, and route r.
func (d *driver) revision(version string, limit uint64) xds.Resource {
	digest := xds.Digest(map[string]map[string][]byte{
		xds.ChainType: {"a": content(&configv1.Chain{Name: "a", BodyLimit: limit}).Value},
		xds.RouteType: {"r": content(&configv1.Route{Name: "r", Chain: "a"}).Value},
	})
	return d.resource(xds.RevisionName, version, &discoveryv1.Revision{Version: version, Digest: digest})
}

// TestNamesDiffer proves that a resource whose name is not its content's is refused: it
// could replace another one.
func TestNamesDiffer(t *testing.T) {
	d := begun(t, true)
	d.receive(xds.ChainType, "c2", "n3", list(d.resource("a", "2", &configv1.Chain{Name: "b"})))
	d.pass(time.Second)
	d.want("refused sha256:...", `nack chain nonce=n3: chain "a": the content's name is "b"; give the resource and its content the same name`)
}

// TestUpdatesAreNotPutOff proves that a server that never stops sending does not keep its
// own updates from taking effect, and that they have a distance.
func TestUpdatesAreNotPutOff(t *testing.T) {
	bothVariants(t, func(t *testing.T, incremental bool) {
		d := begun(t, incremental)
		for i := range uint64(1000) {
			d.receive(xds.ChainType, fmt.Sprint(i), fmt.Sprint(i), list(d.chain("a", 10+i)))
			d.pass(10 * time.Millisecond)
		}
		n := 0
		for _, line := range d.log {
			if strings.HasPrefix(line, "in force") {
				n++
			}
		}
		if n < 3 || n > 100 {
			t.Errorf("in 10 s there were %d updates", n)
		}
	})
}
