package limits

import (
	"fmt"
	"strconv"
	"time"

	"github.com/dunglas/httpsfv"

	"policyengine.dev/policies/rate-limit/internal/gcra"
	"policyengine.dev/sdk/policy"
)

// The reasons of all versions.
const (
	// ReasonLimited is given for a request over a limit.
	ReasonLimited = "RATE_LIMITED"
	// ReasonTooCostly is given for a request that costs more than a burst, and so
	// would never be allowed.
	ReasonTooCostly = "RATE_LIMIT_COST_TOO_HIGH"
	// ReasonKey is given for a request that lacks a part of the key.
	ReasonKey = "RATE_LIMIT_KEY_MISSING"
)

// The fields of draft-ietf-httpapi-ratelimit-headers-10.
const (
	fieldPolicy = "ratelimit-policy"
	fieldLimit  = "ratelimit"
)

// items makes the limit's items of the two fields: `"name";q=100;w=60`, and `"name"`,
// to which the changing parameters are appended.
func items(p Params) (policyItem, nameItem string, err error) {
	item := httpsfv.NewItem(p.Name)
	if nameItem, err = httpsfv.Marshal(item); err != nil {
		return "", "", fmt.Errorf("%q is not a structured field string: %w", p.Name, err)
	}
	item.Params.Add("q", int64(p.Rate))
	// A window in the field is a whole number of seconds, and can be left out.
	if w := p.Window.Std(); w%time.Second == 0 {
		item.Params.Add("w", int64(w/time.Second))
	}
	policyItem, err = httpsfv.Marshal(item)
	return policyItem, nameItem, err
}

// PolicyField is the value of RateLimit-Policy for limits, or "" if all are hidden.
func PolicyField(all []Limit) string {
	var value []byte
	for _, l := range all {
		if !l.Hidden {
			value = append(separator(value), l.policyItem...)
		}
	}
	return string(value)
}

// AppendField appends the limit's item of RateLimit to a field's value. Hidden limits
// have none.
func (l *Limit) AppendField(value []byte, d gcra.Decision) []byte {
	if l.Hidden {
		return value
	}
	value = append(separator(value), l.nameItem...)
	value = strconv.AppendUint(append(value, ";r="...), d.Remaining, 10)
	return strconv.AppendInt(append(value, ";t="...), seconds(d.Reset), 10)
}

func separator(value []byte) []byte {
	if len(value) > 0 {
		value = append(value, ", "...)
	}
	return value
}

// seconds rounds up: a client that waits so long never comes too early.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// Answers makes the answers to requests over a limit.
type Answers struct {
	limited, tooCostly, noKey *policy.ImmediateResponse
}

// NewAnswers prepares what is the same in all answers.
func NewAnswers() *Answers {
	return &Answers{
		limited:   policy.Reject(429, ReasonLimited, "Too many requests."),
		tooCostly: policy.Reject(429, ReasonTooCostly, "The request costs more than its limit ever allows."),
		noKey:     policy.Reject(400, ReasonKey, "The request lacks a value that its rate limit needs."),
	}
}

// NoKey is the answer to a request that lacks a part of the key.
func (a *Answers) NoKey() *policy.ImmediateResponse { return a.noKey }

// Limited is the answer to a request that is to be tried again after retryAfter, or
// never where that is negative. fields follow.
func (a *Answers) Limited(retryAfter time.Duration, fields ...policy.Header) *policy.ImmediateResponse {
	base := a.limited
	if retryAfter < 0 {
		base = a.tooCostly
	}
	answer := *base
	answer.Headers = make([]policy.Header, 0, len(base.Headers)+1+len(fields))
	answer.Headers = append(answer.Headers, base.Headers...)
	if retryAfter >= 0 {
		value := strconv.FormatInt(max(1, seconds(retryAfter)), 10)
		answer.Headers = append(answer.Headers, policy.Header{Name: "retry-after", Value: value})
	}
	answer.Headers = append(answer.Headers, fields...)
	return &answer
}

// Fields are RateLimit-Policy and RateLimit, or none where both are empty.
func Fields(policyField string, limit []byte) []policy.Header {
	if policyField == "" || len(limit) == 0 {
		return nil
	}
	return []policy.Header{{Name: fieldPolicy, Value: policyField}, {Name: fieldLimit, Value: string(limit)}}
}
