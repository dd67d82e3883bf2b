package extproc_test

import (
	"time"

	"policyengine.dev/sdk/policy"
)

// systemClock is the policies' clock, of which the kernel has no use itself.
type systemClock struct{}

func (systemClock) Now() time.Time                        { return time.Now() }
func (systemClock) NewTimer(d time.Duration) policy.Timer { return systemTimer{time.NewTimer(d)} }

type systemTimer struct{ *time.Timer }

func (t systemTimer) C() <-chan time.Time { return t.Timer.C }
