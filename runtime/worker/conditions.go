package worker

import (
	"time"

	"policyengine.dev/sdk/expr/input"
)

// conditionInput is the exchange as conditions see it.
type conditionInput struct {
	input.Exchange
	run *run
}

// Time is when the exchange began, worked out only where a condition asks for it.
func (c *conditionInput) Time() time.Time {
	clock := c.run.snapshot.worker.options.Host.Clock
	return clock.Now().Add(-time.Duration(c.run.clock.now() - c.run.began))
}
