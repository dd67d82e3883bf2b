package host

import (
	"time"

	"policyengine.dev/sdk/policy"
)

// Clock is the system's clock.
type Clock struct{}

// Now implements policy.Clock.
func (Clock) Now() time.Time { return time.Now() }

// NewTimer implements policy.Clock.
func (Clock) NewTimer(d time.Duration) policy.Timer { return timer{time.NewTimer(d)} }

type timer struct{ *time.Timer }

func (t timer) C() <-chan time.Time { return t.Timer.C }
