package policy

import (
	"encoding/json"
	"net/http"
)

// ProblemContentType is the media type of RFC 9457 problem details.
const ProblemContentType = "application/problem+json"

// Reject returns an immediate response with problem details (RFC 9457) as its body. status
// is the HTTP status, reason the machine-readable reason (see [ImmediateResponse.Reason]),
// detail a sentence for the client, or empty. Extra headers follow the content type. If the
// response is always the same, create it in New.
func Reject(status int, reason, detail string, headers ...Header) *ImmediateResponse {
	all := make([]Header, 0, 1+len(headers))
	all = append(all, Header{Name: "content-type", Value: ProblemContentType})
	return &ImmediateResponse{
		Status:  status,
		Headers: append(all, headers...),
		Body:    Problem(status, reason, detail),
		Reason:  reason,
	}
}

// Problem returns problem details (RFC 9457) as JSON. title is the standard text of the
// status, type is omitted and so means "about:blank", reason is an extension member. An
// empty detail is omitted.
func Problem(status int, reason, detail string) []byte {
	b, err := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail,omitempty"`
		Reason string `json:"reason"`
	}{http.StatusText(status), status, detail, reason})
	if err != nil {
		// Strings and a number always marshal.
		panic(err)
	}
	return b
}
