package claims

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What [Rules.Check] refuses claims for. The errors are these values themselves, or
// wrap them with the claim's name: they carry nothing of the token's values.
var (
	ErrIssuer      = errors.New("another issuer")
	ErrAudience    = errors.New("another audience")
	ErrExpired     = errors.New("expired")
	ErrNotYetValid = errors.New("not valid yet")
	ErrTooOld      = errors.New("issued too long ago")
	ErrMissing     = errors.New("a required claim is missing")
	ErrValue       = errors.New("a required claim has none of the accepted values")
)

// problem says which claim is wrong, by a name that is known without the token, and in
// what way. It is a category.
type problem struct {
	category error
	claim    string
	what     string
}

func (p *problem) Error() string { return "the claim " + p.claim + ": " + p.what }
func (p *problem) Unwrap() error { return p.category }

// Rules are what claims have to be. They are immutable once built.
type Rules struct {
	// MaxAge bounds the time since "iat", which has to be there then; 0 does not.
	MaxAge time.Duration
	// Leeway is the clock skew that is put up with.
	Leeway time.Duration
	// WithoutExpiry lets tokens pass that have no "exp". MaxAge has to be set then.
	WithoutExpiry bool
	// Required are further claims that have to be there.
	Required []Requirement
	// Now tells the time. It has to be set.
	Now func() time.Time

	validator *jwt.Validator
	audience  bool
}

// NewRules returns rules under which "iss" is issuer (any but none, where that is empty), "aud" has one of audiences
// (any, where there are none), "exp" is there (or may be missing) and not past, and "nbf" and "iat" are
// not to come.
func NewRules(issuer string, audiences []string, r Rules) *Rules {
	options := []jwt.ParserOption{
		jwt.WithTimeFunc(r.Now),
		jwt.WithLeeway(r.Leeway),
		jwt.WithIssuedAt(),
		jwt.WithIssuer(issuer),
	}
	if !r.WithoutExpiry {
		options = append(options, jwt.WithExpirationRequired())
	}
	if len(audiences) > 0 {
		options = append(options, jwt.WithAudience(audiences...))
	}
	r.validator = jwt.NewValidator(options...)
	r.audience = len(audiences) > 0
	return &r
}

// causes are the validator's errors in the order in which they are told: whose the
// token is comes before how old it is.
var causes = []struct{ theirs, ours error }{
	{jwt.ErrTokenInvalidIssuer, ErrIssuer},
	{jwt.ErrTokenInvalidAudience, ErrAudience},
	{jwt.ErrTokenRequiredClaimMissing, ErrMissing},
	{jwt.ErrTokenExpired, ErrExpired},
	{jwt.ErrTokenNotValidYet, ErrNotYetValid},
	{jwt.ErrTokenUsedBeforeIssued, ErrNotYetValid},
}

func missing(claim string) error { return &problem{ErrMissing, claim, "it is missing"} }

// Check returns nil, or what the first of the rules that s breaks says.
func (r *Rules) Check(s *Set) error {
	// To the validator a claim that is not there is a missing one, whichever;
	// here it is another issuer's, or for another audience.
	switch {
	case s.issuer == "":
		return ErrIssuer
	case r.audience && len(s.aud) == 0:
		return ErrAudience
	}
	if err := r.validator.Validate(s); err != nil {
		for _, c := range causes {
			switch {
			case !errors.Is(err, c.theirs):
			case c.ours == ErrMissing:
				return missing("exp")
			default:
				return c.ours
			}
		}
		return ErrType
	}
	if r.MaxAge > 0 {
		if !s.iat.present {
			return missing("iat")
		}
		if r.Now().After(s.iat.Add(r.MaxAge + r.Leeway)) {
			return ErrTooOld
		}
	}
	for i := range r.Required {
		if err := r.Required[i].check(s.all); err != nil {
			return err
		}
	}
	return nil
}

// Until is the moment at which s stops being acceptable, leeway aside.
func (r *Rules) Until(s *Set) time.Time {
	until := s.exp.Time
	if r.MaxAge > 0 {
		if t := s.iat.Add(r.MaxAge); !s.exp.present || t.Before(until) {
			until = t
		}
	}
	return until
}
