package kernel

import (
	"fmt"

	"policyengine.dev/runtime/telemetry"
	"policyengine.dev/runtime/worker"
)

// Refusal is an error that says with which reason an exchange is refused, and why. The
// carrier gives it to [Exchange.Refuse].
type Refusal worker.Refusal

// Refused returns a refusal.
func Refused(reason worker.Reason, cause worker.Cause) *Refusal {
	return &Refusal{Reason: reason, Cause: cause}
}

// Error implements error.
func (r *Refusal) Error() string { return r.Reason.String() + ": " + r.Cause.Error() }

// Cause is a cause of a refusal whose text is always the same.
type Cause struct {
	kind telemetry.Cause
	text string
}

// NewCause returns a cause that is counted as kind. The text is for the operator.
func NewCause(kind telemetry.Cause, text string) *Cause { return &Cause{kind, text} }

// Error implements error.
func (c *Cause) Error() string { return c.text }

// Kind implements worker.Cause.
func (c *Cause) Kind() telemetry.Cause { return c.kind }

var (
	errNoConfiguration = NewCause(telemetry.NoConfiguration, "no valid configuration of chains and routes is in force")
	errBodyNotWhole    = NewCause(telemetry.BodyNotWhole, "Envoy sent more of the body after a part that it had marked as complete")
	errNarrowed        = NewCause(telemetry.PartNotShown, "the filter does not send every part that the chain needs")
	errNoMemory        = NewCause(telemetry.NoMemory, "the bodies in flight use all of limits.memory")
	errTunnel          = NewCause(telemetry.Tunnel, "the request is an upgrade or a CONNECT, and policies of the chain need a whole body, which a tunnel does not have")
)

// routeCause says which route has no chain.
type routeCause struct{ name string }

func (c *routeCause) Kind() telemetry.Cause { return telemetry.RouteWithoutChain }

func (c *routeCause) Error() string {
	return fmt.Sprintf("no entry of routes matches the route %q", telemetry.Clip(c.name, telemetry.MaxName))
}

// changeCause names a header that policies changed and that may not be.
type changeCause struct{ name string }

func (c *changeCause) Kind() telemetry.Cause { return telemetry.ChangeForbidden }

func (c *changeCause) Error() string {
	return fmt.Sprintf("the filter's mutation rules do not let %q be changed", telemetry.Clip(c.name, telemetry.MaxName))
}

const (
	headerCount = "headers"
	headerBytes = "bytes of headers"
)

// sizeCause says by how much headers are too many or too large.
type sizeCause struct {
	kind telemetry.Cause
	// what is counted: headerCount or headerBytes.
	what string
	// has is what the message would have, added what of it policies set, and limit
	// what the proxy lets it have: headers, or bytes.
	has, added, limit int
}

func (c *sizeCause) Kind() telemetry.Cause { return c.kind }

func (c *sizeCause) Error() string {
	return fmt.Sprintf("the message would have %d %s, of which policies set %d; the limit is %d", c.has, c.what, c.added, c.limit)
}

// lengthCause says by how much a body is too long.
type lengthCause struct {
	kind       telemetry.Cause
	has, limit int64
}

func (c *lengthCause) Kind() telemetry.Cause { return c.kind }

func (c *lengthCause) Error() string {
	switch c.kind {
	case telemetry.LengthAnnounced:
		return fmt.Sprintf("content-length announces %d bytes; the limit is %d", c.has, c.limit)
	case telemetry.LengthDecoded:
		return fmt.Sprintf("the body is over %d bytes once it is decompressed", c.limit)
	}
	if c.has == 0 {
		return fmt.Sprintf("more of the body has arrived than the limit, which is %d bytes", c.limit)
	}
	return fmt.Sprintf("%d bytes of the body have arrived; the limit is %d", c.has, c.limit)
}

// codingCause says what is wrong with a body's content coding.
type codingCause struct {
	kind   telemetry.Cause
	coding string
	err    error
}

func (c *codingCause) Kind() telemetry.Cause { return c.kind }

func (c *codingCause) Error() string {
	return fmt.Sprintf("content-encoding is %q: %v", telemetry.Clip(c.coding, telemetry.MaxName), c.err)
}
