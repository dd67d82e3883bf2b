package apikeyvalidation_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	apikey "policyengine.dev/policies/api-key-validation/v1.1.0"
	"policyengine.dev/sdk/policytest"
)

// usualKey is as long as keys that are made with openssl rand -hex 32.
const usualKey = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"

const benchmarkPepper = "a pepper for benchmarks"

// benchmarkPolicy has n keys, "good" and usualKey, and "peppered", which is of a pepper.
func benchmarkPolicy(t testing.TB, n int) *policytest.Policy {
	m := hmac.New(sha256.New, []byte(benchmarkPepper))
	_, _ = m.Write([]byte("peppered"))
	return withKeys(t, n, fmt.Sprintf(`,{"id": "p", "hmacSha256": %q}`, hex.EncodeToString(m.Sum(nil))), `, peppers: [`+benchmarkPepper+`]`)
}

func withKeys(t testing.TB, n int, more, params string) *policytest.Policy {
	content := file(n, "k")
	content = content[:len(content)-3] + fmt.Sprintf(`,{"id": "g", "sha256": %q},{"id": "u", "sha256": %q}%s]}`, hash("good"), hash(usualKey), more)
	h := policytest.NewHost()
	h.SetFile("/keys.json", content)
	return policytest.New(t, apikey.Policy, `{header: x-api-key, keysFrom: {file: /keys.json}`+params+`}`, policytest.WithHost(h))
}

// BenchmarkValidate compares the policy with one SHA-256 of the same key.
func BenchmarkValidate(b *testing.B) {
	b.Run("one SHA-256", func(b *testing.B) {
		key := []byte(usualKey)
		for b.Loop() {
			sha256.Sum256(key)
		}
	})
	for _, n := range []int{1, 1000, 100_000} {
		p := withKeys(b, n, "", "")
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) { run(b, p, usualKey) })
		b.Run(fmt.Sprintf("keys=%d, unknown", n), func(b *testing.B) { run(b, p, "x"+usualKey[1:]) })
	}
	b.Run("keys=1000, one pepper", func(b *testing.B) { run(b, benchmarkPolicy(b, 1000), usualKey) })
}

func run(b *testing.B, p *policytest.Policy, key string) {
	show := direct(p, key)
	b.ReportAllocs()
	for b.Loop() {
		show()
	}
}
