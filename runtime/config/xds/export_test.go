package xds

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	configv1 "policyengine.dev/proto/policyengine/config/v1"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/worker"
)

// Judge is a judge for tests.
type Judge struct{ judge }

// NewJudge returns one.
func NewJudge(check func(worker.Spec) error, apply func(context.Context, config.Update) error, partial bool) *Judge {
	return &Judge{judge{check: check, apply: apply, partial: partial}}
}

// Judge decides about a proposal.
func (j *Judge) Judge(ctx context.Context, p *Proposal) Verdict { return j.judge.judge(ctx, p) }

// Backoff returns the waits after so many failures in a row, with the same randomness.
func Backoff(first time.Duration, random float64, n int) (all []time.Duration) {
	b := backoff{first: first}
	for range n {
		all = append(all, b.next(random))
	}
	return all
}

// EncodeKept is the content of a stored file with a chain and a route to it.
func EncodeKept(chain, route string) []byte {
	p := plan{set: newSet()}
	for k, m := range map[kind]proto.Message{chains: &configv1.Chain{Name: chain}, routes: &configv1.Route{Name: route, Chain: chain}} {
		content, err := anypb.New(m)
		if err != nil {
			panic(err)
		}
		r, err := newResource(k, "", "", content)
		if err != nil {
			panic(err)
		}
		p.set[k][r.name] = r
	}
	b, err := encodeKept(p, keptHeader{Version: "1"})
	if err != nil {
		panic(err)
	}
	return b
}

// ReadKept reports whether the content of a stored file can be read.
func ReadKept(b []byte) bool {
	_, _, err := decodeKept(b)
	return err == nil
}
