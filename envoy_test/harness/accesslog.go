package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// accessLogFile is the name of the access log in Envoy's directory.
const accessLogFile = "access.log"

// accessLogFormat is what each line holds: see [AccessLogEntry].
var accessLogFormat = map[string]any{
	"method": "%REQ(:METHOD)%", "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "route": "%ROUTE_NAME%",
	"status": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%", "flags": "%RESPONSE_FLAGS%",
	"upstream": "%UPSTREAM_HOST%", "duration": "%DURATION%",
	"total": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%", "upstream_time": "%COMMON_DURATION(US_TX_BEG:US_RX_END:us)%",
}

// AccessLogEntry is what Envoy writes of a request when it is over. What there is
// not (an upstream, say) is empty.
type AccessLogEntry struct {
	Method, Path, Route string
	Status              int
	// Details are the response code details: who answered and why.
	Details string
	// Flags are the response flags.
	Flags    string
	Upstream string
	// Total is how long Envoy took from the request's first byte to the
	// response's last; UpstreamTime is the part of it after the request was
	// passed on.
	Total, UpstreamTime time.Duration
}

// AccessLog returns the entries that Envoy has written so far.
func (e *Envoy) AccessLog() ([]AccessLogEntry, error) {
	src, err := os.ReadFile(filepath.Join(e.dir, accessLogFile))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("reading Envoy's access log: %w", err)
	}
	var all []AccessLogEntry
	for line := range bytes.Lines(src) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // still being written
		}
		var raw struct {
			Method, Path, Route, Details, Flags, Upstream string
			Status, Total, UpstreamTime                   any
			UpstreamTimeField                             any `json:"upstream_time"`
		}
		if err := json.Unmarshal(line, &raw); err != nil {
			return nil, fmt.Errorf("decoding Envoy's access log: %w", err)
		}
		all = append(all, AccessLogEntry{
			Method: raw.Method, Path: raw.Path, Route: raw.Route, Status: int(number(raw.Status)),
			Details: raw.Details, Flags: raw.Flags, Upstream: raw.Upstream,
			Total:        time.Duration(number(raw.Total)) * time.Microsecond,
			UpstreamTime: time.Duration(number(raw.UpstreamTimeField)) * time.Microsecond,
		})
	}
	return all, nil
}

// number reads what Envoy writes as a number, or as a string where it is part of a
// format; 0 where there is none.
func number(v any) int64 {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}
