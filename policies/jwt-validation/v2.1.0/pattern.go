package jwtvalidation

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"policyengine.dev/policies/jwt-validation/internal/keysource"
)

// placeholder stands for the tenant in patterns.
const placeholder = "{tenant}"

// maxTenant is the length of the longest tenant, in bytes.
const maxTenant = 128

// pattern is an issuer with a tenant in it. Immutable.
type pattern struct{ before, after string }

// parsePattern reads an https URL in whose path one segment is {tenant}.
func parsePattern(s string) (*pattern, error) {
	before, after, ok := strings.Cut(s, placeholder)
	if !ok || strings.ContainsAny(before+after, "{}") {
		return nil, errors.New("it does not have {tenant} in it, once, and no other braces")
	}
	if err := keysource.CheckURL(before + "x" + after); err != nil {
		return nil, fmt.Errorf("it is not an address: %w", err)
	}
	if strings.Contains(before+after, "?") {
		return nil, errors.New("it has a query")
	}
	// The scheme's "//" does not count: the tenant is no host.
	path := strings.TrimPrefix(before, "https://")
	if !strings.HasPrefix(before, "https://") || !strings.Contains(path, "/") || !strings.HasSuffix(path, "/") || after != "" && after[0] != '/' {
		return nil, errors.New("{tenant} is not a whole segment of its path, as in https://login.example/{tenant}/v2.0")
	}
	return &pattern{before, after}, nil
}

// tenant returns the tenant of an issuer that fits, and whether it does.
func (p *pattern) tenant(issuer string) (string, bool) {
	rest, ok := strings.CutPrefix(issuer, p.before)
	if !ok {
		return "", false
	}
	tenant, ok := strings.CutSuffix(rest, p.after)
	return tenant, ok && validTenant(tenant)
}

// validTenant reports whether s is one segment of a path that is written in one way only:
// RFC 3986's unreserved characters, and not a dot segment.
func validTenant(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxTenant && s != "." && s != ".."
}

// expand puts the tenant into a pattern.
func expand(pattern, tenant string) string { return strings.Replace(pattern, placeholder, tenant, 1) }

// overlap reports whether one issuer can fit both patterns.
func overlap(a, b string) bool {
	return slices.EqualFunc(strings.Split(a, "/"), strings.Split(b, "/"), func(x, y string) bool {
		return x == y || x == placeholder && validTenant(y) || y == placeholder && validTenant(x)
	})
}

// reserved are claims that have their own meaning.
var reserved = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "scp"}

// check returns what is wrong with the issuer's name, its tenants and the place of its
// keys, as far as the shared settings do not find it.
func (p *IssuerParams) check() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for i, m := range p.ClaimsToHeaders {
		if err := m.Encoding.Check(); err != nil {
			problem("claimsToHeaders[%d].encoding: %w", i, err)
		}
	}
	if !p.Keys.Discovery && len(p.Keys.Hosts) > 0 {
		problem("keys.hosts: they go with discovery")
	}
	if p.IssuerPattern == "" {
		if len(p.Tenants) > 0 || p.AnyTenant {
			problem("tenants, anyTenant: they go with issuerPattern")
		}
		return problems
	}
	if p.Issuer.Issuer != "" {
		problem("issuer, issuerPattern: give exactly one of them")
	}
	if _, err := parsePattern(p.IssuerPattern); err != nil {
		problem("issuerPattern: %w", err)
	}
	if slices.Contains(reserved, p.TenantClaim) {
		problem("tenantClaim: %q is a registered claim; choose another name", p.TenantClaim)
	}
	if (len(p.Tenants) > 0) == p.AnyTenant {
		problem("tenants, anyTenant: give the tenants, or say that any will do")
	}
	seen := map[string]bool{}
	for i, tenant := range p.Tenants {
		if !validTenant(tenant) || seen[tenant] {
			problem("tenants[%d]: it is not one segment of a path (letters, digits, -, ., _ and ~; at most %d), or is there already", i, maxTenant)
		}
		seen[tenant] = true
	}
	if p.AnyTenant && (p.Keys.Discovery || strings.Contains(p.Keys.URL, placeholder)) {
		problem("keys: each tenant has its own keys, so made-up tenants could cause fetches; list the tenants, or set keys that all tenants share")
	}
	return problems
}
