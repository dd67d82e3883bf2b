package jose

import (
	"crypto/ed25519"
	"errors"
	"math/big"
	"slices"
)

var (
	errNotCanonical = errors.New("an Ed25519 key that is not encoded as RFC 8032, section 5.1.2, has it")
	errNotOnCurve   = errors.New("an Ed25519 key that is not a point on its curve")
	errLowOrder     = errors.New("an Ed25519 key of low order: anybody can sign for it")
)

// The field of edwards25519, and its d (RFC 8032, section 5.1).
var (
	fieldPrime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	curveD     = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), fieldPrime)
		d.Mul(d, big.NewInt(-121665))
		return d.Mod(d, fieldPrime)
	}()
)

// checkEd25519 refuses what crypto/ed25519 takes and no key generation gives: points
// whose order divides 8, for which signatures can be made up without a private key.
func checkEd25519(key ed25519.PublicKey) error {
	encoded := slices.Clone(key)
	encoded[31] &= 0x7f // the sign of x
	slices.Reverse(encoded)
	y := new(big.Int).SetBytes(encoded)
	if y.Cmp(fieldPrime) >= 0 {
		return errNotCanonical
	}
	// x^2 = (y^2 - 1) / (d*y^2 + 1); the denominator is never 0.
	y2 := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(y2, big.NewInt(1))
	v := new(big.Int).Mul(curveD, y2)
	v.Add(v, big.NewInt(1)).Mod(v, fieldPrime)
	x2 := new(big.Int).Mul(u, v.ModInverse(v, fieldPrime))
	x2.Mod(x2, fieldPrime)
	if big.Jacobi(x2, fieldPrime) < 0 {
		return errNotOnCurve
	}
	if lowOrder(x2, y2.Mod(y2, fieldPrime)) {
		return errLowOrder
	}
	return nil
}

// lowOrder reports whether eight times the point with those squares of x and y is the
// neutral element. Order 1 and 2 have x = 0, order 4 has y = 0. A point P has order 8
// where 2P has order 4: y(2P) = (y^2 + x^2) / (2 + x^2 - y^2) is 0.
func lowOrder(x2, y2 *big.Int) bool {
	sum := new(big.Int).Add(x2, y2)
	return x2.Sign() == 0 || y2.Sign() == 0 || sum.Mod(sum, fieldPrime).Sign() == 0
}
