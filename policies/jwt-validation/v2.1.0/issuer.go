package jwtvalidation

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"policyengine.dev/policies/jwt-validation/internal/admission"
	"policyengine.dev/policies/jwt-validation/internal/authorization"
	"policyengine.dev/policies/jwt-validation/internal/claims"
	"policyengine.dev/policies/jwt-validation/internal/jose"
	"policyengine.dev/policies/jwt-validation/internal/keysource"
	"policyengine.dev/policies/jwt-validation/internal/settings"
	"policyengine.dev/sdk/policy"
)

// issuer is one issuer, with the rules for its tokens. Safe for concurrent use.
type issuer struct {
	*settings.Trust
	name string
	// pattern is that of an issuer whose tenants are not listed; tenant is the one of an
	// issuer whose tenant is listed. Either is among the claims as tenantClaim.
	pattern     *pattern
	tenant      string
	tenantClaim string

	scopes authorization.Scopes
	cel    *authorization.Rules
	// errScope is the error of a token without the scopes; each issuer's has an
	// answer of its own.
	errScope error

	// every and wait bound loads because of unknown keys.
	every, wait time.Duration
}

// newIssuers returns the issuers of p: one, or one for each tenant that is listed; or
// everything that is wrong with p, each problem with the field in front.
func newIssuers(p *IssuerParams, all *Params, taken []string, host policy.Host) ([]*issuer, []error) {
	problems := p.check()
	problems = append(problems, settings.Under("scopes", p.Scopes.Check())...)
	rules, ruleProblems := authorization.Compile(p.Rules, host.Logger.With(slog.String("issuer", p.Issuer.Issuer+p.IssuerPattern)))
	problems = append(problems, settings.Under("rules", ruleProblems)...)
	made := &issuer{
		name: p.Issuer.Issuer, scopes: p.Scopes, cel: rules, errScope: errors.New("a required scope is missing"),
		every: all.UnknownKeys.Interval.Std(), wait: all.UnknownKeys.Wait.Std(),
	}
	trusting := func(i issuer, tenant string) *issuer {
		var wrong []error
		if i.Trust, wrong = p.trust(tenant, all, taken, host); len(problems) == 0 {
			problems = append(problems, wrong...)
		}
		return &i
	}
	if p.IssuerPattern == "" {
		trust, wrong := p.trust("", all, taken, host)
		made.Trust = trust
		return []*issuer{made}, append(problems, wrong...)
	}
	made.tenantClaim = p.TenantClaim
	if len(problems) > 0 {
		return nil, problems
	}
	if p.AnyTenant {
		made.name = p.IssuerPattern
		made.pattern, _ = parsePattern(p.IssuerPattern)
		return []*issuer{trusting(*made, "")}, problems
	}
	var issuers []*issuer
	for _, tenant := range p.Tenants {
		made.name, made.tenant = expand(p.IssuerPattern, tenant), tenant
		issuers = append(issuers, trusting(*made, tenant))
	}
	return issuers, problems
}

// trust returns what tokens of the issuer, or of its tenant, are verified with.
func (p *IssuerParams) trust(tenant string, all *Params, taken []string, host policy.Host) (*settings.Trust, []error) {
	i := p.Issuer
	i.Keys = p.Keys.Place
	i.WithoutExpiry = p.AllowNoExpiry
	switch {
	case p.AnyTenant:
		i.Issuer, i.AnyIssuer = p.IssuerPattern, true
	case p.IssuerPattern != "":
		i.Issuer = expand(p.IssuerPattern, tenant)
		i.Keys.URL = expand(i.Keys.URL, tenant)
	}
	i.Keys.NoRedirects, i.Keys.TLS = true, p.Keys.TLS
	if p.Keys.Discovery {
		i.Keys.Discovery = &keysource.Discovery{Issuer: i.Issuer, Hosts: p.Keys.Hosts}
	}
	i.ClaimsToHeaders = nil
	for _, m := range p.ClaimsToHeaders {
		m.Mapping.Encoding = m.Encoding
		i.ClaimsToHeaders = append(i.ClaimsToHeaders, m.Mapping)
	}
	return i.Trust(host, all.Leeway, taken)
}

// admit returns what becomes of a token with those claims, which take size bytes,
// and whose signature is that of a key in keys.
func (i *issuer) admit(ctx context.Context, all map[string]any, size int, keys *jose.KeySet) (*admission.Token, error) {
	set, err := claims.New(all)
	if err != nil {
		return nil, err
	}
	if err := i.tell(set, all); err != nil {
		return nil, err
	}
	if err := i.Rules.Check(set); err != nil {
		return nil, err
	}
	a := &admission.Token{
		Source:     i.Keys,
		Keys:       keys,
		ClaimBytes: size,
		Until:      i.Rules.Until(set),
		Principal:  policy.Principal{Subject: set.Subject(), Issuer: set.Issuer(), Scopes: set.Scopes(), Claims: all},
	}
	if !i.scopes.HeldBy(a.Principal.Scopes) {
		return nil, i.errScope
	}
	if err := i.cel.Check(ctx, &a.Principal); err != nil {
		return nil, err
	}
	if a.Set, err = claims.Headers(i.Mappings, all); err != nil {
		return nil, err
	}
	return a, nil
}

// tell puts the tenant among the claims of a token whose signature is right, instead of
// what the token says there.
func (i *issuer) tell(set *claims.Set, all map[string]any) error {
	tenant := i.tenant
	if i.pattern != nil {
		var ok bool
		if tenant, ok = i.pattern.tenant(set.Issuer()); !ok {
			return claims.ErrIssuer
		}
	}
	if tenant != "" {
		all[i.tenantClaim] = tenant
	}
	return nil
}
