package securityheaders

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dunglas/httpsfv"

	"policyengine.dev/sdk/policy"
)

// checkValue refuses what cannot be a header's value, or what a browser might read in
// another way than it was meant.
func checkValue(v string) error {
	if !policy.ValidHeaderValue(v) {
		return errors.New("has control characters, such as a line break")
	}
	if strings.TrimSpace(v) != v {
		return errors.New("begins or ends with a space")
	}
	for i := 0; i < len(v); i++ {
		if v[i] >= 0x80 {
			return errors.New("has characters outside of ASCII")
		}
	}
	return nil
}

// preloadAge is the least max-age that the browsers' preload list takes, in seconds.
const preloadAge = 31536000

// checkTransportSecurity checks a value of Strict-Transport-Security (RFC 6797,
// section 6.1). A user agent ignores a header with a mistake in it.
func checkTransportSecurity(v string) error {
	var age uint64
	seen := map[string]bool{}
	for part := range strings.SplitSeq(v, ";") {
		name, value, hasValue := strings.Cut(strings.TrimSpace(part), "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if seen[name] {
			return fmt.Errorf("%s occurs twice", name)
		}
		seen[name] = true
		switch {
		case name == "max-age" && hasValue:
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 63)
			if err != nil {
				return fmt.Errorf("max-age must be a number of seconds, such as %d", preloadAge)
			}
			age = n
		case (name == "includesubdomains" || name == "preload") && !hasValue:
		default:
			return fmt.Errorf("%q is not max-age=SECONDS, includeSubDomains or preload; separate directives by semicolons", strings.TrimSpace(part))
		}
	}
	if !seen["max-age"] {
		return errors.New("max-age is missing; browsers ignore the header without it")
	}
	if seen["preload"] && (age < preloadAge || !seen["includesubdomains"]) {
		return fmt.Errorf("preload needs includeSubDomains and a max-age of at least %d", preloadAge)
	}
	return nil
}

// directives are those of CSP Level 3 and of the specifications that extend it.
var directives = []string{
	"base-uri", "block-all-mixed-content", "child-src", "connect-src", "default-src", "fenced-frame-src", "font-src",
	"form-action", "frame-ancestors", "frame-src", "img-src", "manifest-src", "media-src", "navigate-to", "object-src",
	"plugin-types", "prefetch-src", "report-to", "report-uri", "require-trusted-types-for", "sandbox", "script-src",
	"script-src-attr", "script-src-elem", "style-src", "style-src-attr", "style-src-elem", "trusted-types",
	"upgrade-insecure-requests", "webrtc", "worker-src",
}

// keywords are source expressions that browsers heed in single quotes only.
var keywords = []string{
	"none", "self", "unsafe-inline", "unsafe-eval", "unsafe-hashes", "strict-dynamic", "report-sample", "wasm-unsafe-eval", "inline-speculation-rules",
}

// checkContentSecurity checks a value of Content-Security-Policy (CSP Level 3, section
// 2.2). Browsers ignore a directive that they do not know and the second one of a name,
// and take a keyword without quotes for a host, so a mistake would allow too much or
// break the page without a word.
func checkContentSecurity(v string) error {
	if strings.Contains(v, ",") {
		return errors.New("has a comma, which would begin a second policy; separate directives by semicolons")
	}
	var seen []string
	for part := range strings.SplitSeq(v, ";") {
		words := strings.Fields(part)
		if len(words) == 0 {
			continue
		}
		name := strings.ToLower(words[0])
		if !slices.Contains(directives, name) {
			return fmt.Errorf("%q is not a directive of Content-Security-Policy, such as default-src", words[0])
		}
		if slices.Contains(seen, name) {
			return fmt.Errorf("%s occurs twice; browsers ignore the second one", name)
		}
		seen = append(seen, name)
		for _, word := range words[1:] {
			lower := strings.ToLower(word)
			if name != "trusted-types" && slices.Contains(keywords, lower) {
				return fmt.Errorf("%s: write '%s' with its quotes; without them it is the name of a host", name, word)
			}
			if lower == "'none'" && len(words) > 2 {
				return fmt.Errorf("%s: browsers ignore 'none' if there are other sources", name)
			}
		}
	}
	if len(seen) == 0 {
		return errors.New("has no directive")
	}
	return nil
}

// checkPermissions checks a value of Permissions-Policy, a dictionary (RFC 9651).
func checkPermissions(v string) error {
	d, err := httpsfv.UnmarshalDictionary([]string{v})
	if err != nil {
		return fmt.Errorf("is not a structured field dictionary, such as camera=(), geolocation=(self): %w", err)
	}
	if len(d.Names()) == 0 {
		return errors.New("names no feature")
	}
	return nil
}

// checkCacheControl checks a value of Cache-Control (RFC 9111, section 5.2): names,
// each with a value or without.
func checkCacheControl(v string) error {
	for part := range strings.SplitSeq(v, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !policy.ValidHeaderName(name) {
			return fmt.Errorf("%q is not a directive of Cache-Control, such as no-store or max-age=60", strings.TrimSpace(part))
		}
	}
	return nil
}
