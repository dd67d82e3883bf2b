// Package refusal says what clients are answered whose requests do not pass: the
// reasons, their statuses and their challenges (RFC 6750, section 3).
package refusal

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"policyengine.dev/policies/jwt-validation/internal/bearer"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/sdk/policy"
)

// The reasons with which a request is turned away. What is wrong with a token's
// claims is told only where its signature was right.
const (
	// ReasonMissing (401): the request carries no token.
	ReasonMissing = "JWT_MISSING"
	// ReasonSeveral (400): it carries more than one.
	ReasonSeveral = "JWT_SEVERAL"
	// ReasonTooLarge (401): the token is longer than maxTokenBytes.
	ReasonTooLarge = "JWT_TOO_LARGE"
	// ReasonMalformed (401): it is not a JWS in compact form, or what it says
	// is not what RFC 7519 has it say.
	ReasonMalformed = "JWT_MALFORMED"
	// ReasonEncrypted (401): it is a JWE, which this policy does not read.
	ReasonEncrypted = "JWT_ENCRYPTED"
	// ReasonCriticalHeader (401): its header has "crit" or "b64".
	ReasonCriticalHeader = "JWT_CRITICAL_HEADER"
	// ReasonTypeMismatch (401): its "typ" is none of the accepted types.
	ReasonTypeMismatch = "JWT_TYPE_MISMATCH"
	// ReasonAlgorithmNotAllowed (401): its "alg" is not allowed.
	ReasonAlgorithmNotAllowed = "JWT_ALGORITHM_NOT_ALLOWED"
	// ReasonKeyUnknown (401): no key of the issuer's, or no single key, is the
	// one that its header names.
	ReasonKeyUnknown = "JWT_KEY_UNKNOWN"
	// ReasonSignatureInvalid (401): the signature is wrong.
	ReasonSignatureInvalid = "JWT_SIGNATURE_INVALID"
	// ReasonIssuerUnknown (401): "iss" is none of the issuers. Unlike other
	// claims it has to be checked before the signature can be verified.
	ReasonIssuerUnknown = "JWT_ISSUER_UNKNOWN"
	// ReasonAudienceMismatch (401): "aud" has none of the audiences.
	ReasonAudienceMismatch = "JWT_AUDIENCE_MISMATCH"
	// ReasonExpired (401): "exp" is past.
	ReasonExpired = "JWT_EXPIRED"
	// ReasonNotYetValid (401): "nbf" or "iat" is to come.
	ReasonNotYetValid = "JWT_NOT_YET_VALID"
	// ReasonTooOld (401): "iat" is longer ago than maxAge.
	ReasonTooOld = "JWT_TOO_OLD"
	// ReasonClaimMissing (401): "exp", "iat" (with maxAge) or a required claim
	// is missing.
	ReasonClaimMissing = "JWT_CLAIM_MISSING"
	// ReasonClaimMismatch (403): a required claim has none of its values.
	ReasonClaimMismatch = "JWT_CLAIM_MISMATCH"
	// ReasonScopeInsufficient (403): a required scope is missing.
	ReasonScopeInsufficient = "JWT_SCOPE_INSUFFICIENT"
	// ReasonRuleFailed (403): a claim rule does not hold, or has no value for
	// the token's claims.
	ReasonRuleFailed = "JWT_RULE_FAILED"
	// ReasonClaimUnprintable (401): a claim that a header is to tell is an
	// object, or has characters that a header cannot carry unambiguously.
	ReasonClaimUnprintable = "JWT_CLAIM_UNPRINTABLE"
)

// What a policy refuses a token for by itself.
var (
	ErrTooLarge   = errors.New("the token is longer than maxTokenBytes")
	ErrType       = errors.New("the token is of another type")
	ErrKeyUnknown = errors.New("no key, or no single key, is the token's")
	ErrRule       = errors.New("a rule does not hold")
	// ErrTraces is for a request without a token that has something in a token's place.
	ErrTraces = errors.New("there is a value where the token should be, but it is not a token")
)

// Error codes of RFC 6750, section 3.1, in challenges. Without one the client has
// not tried to authenticate.
const (
	noCode         = ""
	invalidRequest = "invalid_request"
	invalidToken   = "invalid_token"
	// A token of somebody who may not is as good as one of too small a scope.
	insufficientScope = "insufficient_scope"
)

var table = []struct {
	err    error
	status int
	reason string
	code   string
	detail string
}{
	{bearer.ErrNone, http.StatusUnauthorized, ReasonMissing, noCode, "A bearer token is required."},
	{bearer.ErrSeveral, http.StatusBadRequest, ReasonSeveral, invalidRequest, "More than one bearer token is given."},
	{ErrTooLarge, http.StatusUnauthorized, ReasonTooLarge, invalidToken, ""},
	{jose.ErrMalformed, http.StatusUnauthorized, ReasonMalformed, invalidToken, ""},
	{ErrTraces, http.StatusUnauthorized, ReasonMalformed, invalidToken, ""},
	{claims.ErrType, http.StatusUnauthorized, ReasonMalformed, invalidToken, ""},
	{jose.ErrEncrypted, http.StatusUnauthorized, ReasonEncrypted, invalidToken, "Encrypted tokens (JWE) are not accepted."},
	{jose.ErrCritical, http.StatusUnauthorized, ReasonCriticalHeader, invalidToken, ""},
	{ErrType, http.StatusUnauthorized, ReasonTypeMismatch, invalidToken, ""},
	{jose.ErrAlgorithm, http.StatusUnauthorized, ReasonAlgorithmNotAllowed, invalidToken, ""},
	{ErrKeyUnknown, http.StatusUnauthorized, ReasonKeyUnknown, invalidToken, ""},
	{jose.ErrSignature, http.StatusUnauthorized, ReasonSignatureInvalid, invalidToken, ""},
	{claims.ErrIssuer, http.StatusUnauthorized, ReasonIssuerUnknown, invalidToken, ""},
	{claims.ErrAudience, http.StatusUnauthorized, ReasonAudienceMismatch, invalidToken, ""},
	{claims.ErrExpired, http.StatusUnauthorized, ReasonExpired, invalidToken, "The token has expired."},
	{claims.ErrNotYetValid, http.StatusUnauthorized, ReasonNotYetValid, invalidToken, ""},
	{claims.ErrTooOld, http.StatusUnauthorized, ReasonTooOld, invalidToken, ""},
	{claims.ErrMissing, http.StatusUnauthorized, ReasonClaimMissing, invalidToken, ""},
	{claims.ErrValue, http.StatusForbidden, ReasonClaimMismatch, insufficientScope, ""},
	{ErrRule, http.StatusForbidden, ReasonRuleFailed, insufficientScope, ""},
	{claims.ErrUnprintable, http.StatusUnauthorized, ReasonClaimUnprintable, invalidToken, ""},
}

// Answers are the answers to errors, prepared. Immutable.
type Answers struct {
	prepared map[error]*policy.ImmediateResponse
	// categories are the errors that others may wrap.
	categories []error
}

// Prepare makes the answers with challenges of that realm. scopes has, for an error of
// the policy's own, the scopes that a token lacks.
func Prepare(realm string, scopes map[error][]string) *Answers {
	a := &Answers{prepared: make(map[error]*policy.ImmediateResponse, len(table)+len(scopes))}
	add := func(err error, answer *policy.ImmediateResponse) {
		a.prepared[err] = answer
		a.categories = append(a.categories, err)
	}
	for _, r := range table {
		add(r.err, policy.Reject(r.status, r.reason, r.detail, challenge(realm, r.code, "")))
	}
	for err, wanted := range scopes {
		// RFC 6750, section 3, has the challenge name them.
		add(err, policy.Reject(http.StatusForbidden, ReasonScopeInsufficient, "", challenge(realm, insufficientScope, strings.Join(wanted, " "))))
	}
	return a
}

// For returns the answer to err, or nil where err is not the client's. An error that
// says more than its category is the answer's cause.
func (a *Answers) For(err error) *policy.ImmediateResponse {
	if answer, ok := a.prepared[err]; ok {
		return answer
	}
	for _, category := range a.categories {
		if errors.Is(err, category) {
			answer := *a.prepared[category]
			answer.Cause = err.Error()
			return &answer
		}
	}
	return nil
}

func challenge(realm, code, scope string) policy.Header {
	value := fmt.Sprintf("Bearer realm=%q", realm)
	if code != noCode {
		value += fmt.Sprintf(", error=%q", code)
	}
	if scope != "" {
		value += fmt.Sprintf(", scope=%q", scope)
	}
	return policy.Header{Name: "www-authenticate", Value: value}
}
