package settings

import (
	"fmt"
	"time"

	"policyengine.dev/sdk/policy"
)

// Cache bounds the cache of verified tokens. Where Entries, Bytes or TTL is 0, nothing is
// remembered.
type Cache struct {
	// Entries and Bytes are the number of tokens, and about how much memory they may take
	// with their claims.
	Entries int `json:"entries"`
	Bytes   int `json:"bytes"`
	// TTL is for how long a token is remembered at most.
	TTL policy.Duration `json:"ttl"`
}

// UnknownKeys bounds the loads of key sets that requests cause.
type UnknownKeys struct {
	// Interval is the shortest time between the start of any load of an issuer's set and
	// that of one which a request causes.
	Interval policy.Duration `json:"interval"`
	// Wait is for how long a request waits for such a load.
	Wait policy.Duration `json:"wait"`
}

// The defaults and limits of policy.yaml.
const (
	defaultInterval = policy.Duration(30 * time.Second)
	minInterval     = policy.Duration(time.Second)
	defaultWait     = policy.Duration(100 * time.Millisecond)
	maxWait         = policy.Duration(10 * time.Second)
	maxCacheEntries = 1 << 20
	maxCacheBytes   = 1 << 30
	longest         = policy.Duration(1<<63 - 1)
)

// SetDefaults gives zero values the defaults of policy.yaml.
func (p *UnknownKeys) SetDefaults() {
	if p.Interval == 0 {
		p.Interval = defaultInterval
	}
	if p.Wait == 0 {
		p.Wait = defaultWait
	}
}

// Check returns what is wrong.
func (p *UnknownKeys) Check() []error {
	return append(between("interval", p.Interval, minInterval, longest), between("wait", p.Wait, 0, maxWait)...)
}

// Check returns what is wrong.
func (p *Cache) Check() (problems []error) {
	number := func(field string, n, high int) {
		if n < 0 || n > high {
			problems = append(problems, fmt.Errorf("%s: %d is not between 0 and %d", field, n, high))
		}
	}
	number("entries", p.Entries, maxCacheEntries)
	number("bytes", p.Bytes, maxCacheBytes)
	return append(problems, between("ttl", p.TTL, 0, longest)...)
}

func between(field string, d, low, high policy.Duration) []error {
	switch {
	case d < low:
		return []error{fmt.Errorf("%s: %s is less than %s", field, d, low)}
	case d > high:
		return []error{fmt.Errorf("%s: %s is more than %s", field, d, high)}
	}
	return nil
}
