package xds

import (
	"context"

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
