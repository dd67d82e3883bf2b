package jwtvalidation

import "policyengine.dev/policies/jwt-validation/internal/tokencache"

// Forget empties the cache, to a cache of 1000 tokens.
func (v *Validator) Forget() { v.cache = tokencache.New[*admission](1000, 1<<24) }
