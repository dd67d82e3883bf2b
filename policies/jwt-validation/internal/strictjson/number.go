package strictjson

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// exactDigits is how many significant digits a decimal may have so that no two of them
// have the same float64. Whole numbers may have more, below maxExact.
const (
	exactDigits    = 15
	maxExact       = 1 << 53
	smallestNormal = 0x1p-1022
)

// Number is the value of a JSON number, text. It is a float64 if no other number that
// has one has the same: a whole number below 2^53, or one of at most 15 significant
// digits. Any other is a json.Number, so that 9007199254740992 and 9007199254740993
// stay two. A number that is too large for a float64 is none.
func Number(text string) (value any, ok bool) {
	if n, ok := small(text); ok {
		return float64(n), true
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		return nil, false
	case exact(text, f):
		return f, true
	}
	return json.Number(text), true
}

// small is the value of a whole number of up to 15 digits. Dates are of ten: no need
// for the long way.
func small(text string) (int, bool) {
	if len(text) > exactDigits {
		return 0, false
	}
	n := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// exact reports whether f, which text was read as, stands for no other such number.
func exact(text string, f float64) bool {
	digits, whole := 0, true
	for i := 0; i < len(text) && text[i]|0x20 != 'e'; i++ {
		switch c := text[i]; {
		case c == '.':
			whole = false
		case '1' <= c && c <= '9', c == '0' && digits > 0:
			digits++
		}
	}
	if whole && !strings.ContainsAny(text, "eE") && math.Abs(f) < maxExact {
		return true
	}
	// Below the smallest normal number a float64 has fewer digits.
	return digits == 0 || digits <= exactDigits && math.Abs(f) >= smallestNormal
}
