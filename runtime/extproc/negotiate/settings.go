package negotiate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// StampKey is the key of the stamp in the gRPC stream's initial metadata.
const StampKey = "x-policy-engine-filter"

// DefaultMessageTimeout is Envoy's.
const DefaultMessageTimeout = 200 * time.Millisecond

// DefaultMaxHeaders and DefaultMaxHeadersKB are Envoy's.
const (
	DefaultMaxHeaders   = 100
	DefaultMaxHeadersKB = 60
)

// Settings is what a filter allows. The zero value stands for Envoy's defaults.
type Settings struct {
	// ModeOverride is allow_mode_override, without a list of allowed modes.
	ModeOverride bool
	// MessageTimeout is message_timeout; 0 counts as [DefaultMessageTimeout].
	MessageTimeout time.Duration
	// SkipResponseHeaders, RequestTrailers and ResponseTrailers are what
	// processing_mode says of headers and trailers: by default response headers
	// are sent and trailers are not.
	SkipResponseHeaders, RequestTrailers, ResponseTrailers bool
	// Routing and EnvoyHeaders are mutation_rules' allow_all_routing and
	// allow_envoy: changes to :method, :authority and :scheme, and to x-envoy-*.
	Routing, EnvoyHeaders bool
	// MaxHeaders is how many headers the connection manager lets a message
	// have (max_headers_count); 0 counts as [DefaultMaxHeaders].
	MaxHeaders int
	// MaxHeadersKB is how large a request's headers may be, in KiB
	// (max_request_headers_kb); 0 counts as [DefaultMaxHeadersKB].
	MaxHeadersKB int
	// RouteName says that the filter sends the attribute xds.route_name with
	// requests. A request without it is one that no route serves then.
	RouteName bool
	// NoSystem and NoHeaders are mutation_rules' disallow_system (:path and
	// :status among others) and disallow_all.
	NoSystem, NoHeaders bool
}

// Timeout is MessageTimeout, or its default.
func (s *Settings) Timeout() time.Duration {
	if s.MessageTimeout > 0 {
		return s.MessageTimeout
	}
	return DefaultMessageTimeout
}

// HeaderLimit is MaxHeaders, or its default.
func (s *Settings) HeaderLimit() int {
	if s.MaxHeaders > 0 {
		return s.MaxHeaders
	}
	return DefaultMaxHeaders
}

// HeaderBytes is MaxHeadersKB, or its default, in bytes.
func (s *Settings) HeaderBytes() int {
	const most = 1 << 20 // KiB, far more than Envoy takes
	if s.MaxHeadersKB > 0 {
		return min(s.MaxHeadersKB, most) << 10
	}
	return DefaultMaxHeadersKB << 10
}

// version begins every stamp, so that a later form can be told from this one.
const version = "v1"

// words are the stamp's flags.
func (s *Settings) words() []struct {
	name string
	flag *bool
} {
	return []struct {
		name string
		flag *bool
	}{
		{"mode_override", &s.ModeOverride},
		{"skip_response_headers", &s.SkipResponseHeaders},
		{"request_trailers", &s.RequestTrailers},
		{"response_trailers", &s.ResponseTrailers},
		{"routing", &s.Routing},
		{"envoy_headers", &s.EnvoyHeaders},
		{"no_system", &s.NoSystem},
		{"no_headers", &s.NoHeaders},
		{"route_name", &s.RouteName},
	}
}

const (
	timeoutWord   = "timeout="
	headersWord   = "max_headers="
	headersKBWord = "max_headers_kb="
)

// Stamp is s as a metadata value, such as "v1 timeout=1s mode_override". It holds
// nothing that Envoy's formatter would take for a command.
func (s Settings) Stamp() string {
	words := []string{version}
	if s.MessageTimeout > 0 {
		words = append(words, timeoutWord+s.MessageTimeout.String())
	}
	if s.MaxHeaders > 0 {
		words = append(words, headersWord+strconv.Itoa(s.MaxHeaders))
	}
	if s.MaxHeadersKB > 0 {
		words = append(words, headersKBWord+strconv.Itoa(s.MaxHeadersKB))
	}
	for _, w := range s.words() {
		if *w.flag {
			words = append(words, w.name)
		}
	}
	return strings.Join(words, " ")
}

var errVersion = errors.New("a filter's stamp begins with " + version)

// MaxStampLength bounds a stamp, in bytes. A longer one is not checked.
const MaxStampLength = 512

// ParseStamp is the inverse of [Settings.Stamp]. A stamp with a word that is not known,
// such as that of a later version, is an error: it may take back what the others
// allow.
func ParseStamp(stamp string) (Settings, error) {
	var s Settings
	if len(stamp) > MaxStampLength {
		return s, fmt.Errorf("a filter's stamp is longer than %d bytes", MaxStampLength)
	}
	words := strings.Fields(stamp)
	if len(words) == 0 || words[0] != version {
		return s, errVersion
	}
	known := s.words()
next:
	for _, word := range words[1:] {
		if value, ok := strings.CutPrefix(word, timeoutWord); ok {
			d, err := time.ParseDuration(value)
			if err != nil || d <= 0 {
				return Settings{}, fmt.Errorf("a filter's stamp has the timeout %q, which is no positive duration", value)
			}
			s.MessageTimeout = d
			continue
		}
		if name, value, ok := strings.Cut(word, "="); ok {
			limit := map[string]*int{headersWord: &s.MaxHeaders, headersKBWord: &s.MaxHeadersKB}[name+"="]
			if limit == nil {
				return Settings{}, fmt.Errorf("a filter's stamp has the unknown word %q", word)
			}
			n, err := strconv.Atoi(value)
			if err != nil || n <= 0 {
				return Settings{}, fmt.Errorf("a filter's stamp has the header limit %q, which is no positive number", value)
			}
			*limit = n
			continue
		}
		for _, k := range known {
			if k.name == word {
				*k.flag = true
				continue next
			}
		}
		return Settings{}, fmt.Errorf("a filter's stamp has the unknown word %q", word)
	}
	return s, nil
}
