package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
)

// verify reports whether signature is that of input by algorithm a with the key
// public. Where the key is of another type than a is for, it is not.
func verify(a Algorithm, public crypto.PublicKey, input, signature []byte) bool {
	switch a {
	case RS256, PS256, ES256:
		digest := sha256.Sum256(input)
		return verifyDigest(a, public, crypto.SHA256, digest[:], signature)
	case RS384, PS384, ES384:
		digest := sha512.Sum384(input)
		return verifyDigest(a, public, crypto.SHA384, digest[:], signature)
	case RS512, PS512, ES512:
		digest := sha512.Sum512(input)
		return verifyDigest(a, public, crypto.SHA512, digest[:], signature)
	case EdDSA, Ed25519:
		key, ok := public.(ed25519.PublicKey)
		return ok && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, input, signature)
	}
	return false
}

func verifyDigest(a Algorithm, public crypto.PublicKey, hash crypto.Hash, digest, signature []byte) bool {
	switch key := public.(type) {
	case *rsa.PublicKey:
		switch a {
		case RS256, RS384, RS512:
			return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
		case PS256, PS384, PS512:
			// RFC 7518, section 3.5: the salt is as long as the hash.
			return rsa.VerifyPSS(key, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
	case *ecdsa.PublicKey:
		switch a {
		case ES256, ES384, ES512:
			return verifyECDSA(key, digest, signature)
		}
	}
	return false
}

// verifyECDSA takes a signature in RFC 7518's form, section 3.4: both numbers as
// long as the curve's, one after the other.
func verifyECDSA(key *ecdsa.PublicKey, digest, signature []byte) bool {
	n := (key.Curve.Params().BitSize + 7) / 8
	if len(signature) != 2*n {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:])
	return ecdsa.Verify(key, digest, r, s)
}
