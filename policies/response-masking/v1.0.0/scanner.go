package responsemasking

import "slices"

// Lengths of what is looked for, in digits and characters.
const (
	minCard, maxCard = 13, 19
	minIBAN, maxIBAN = 15, 34
)

// scanner masks card numbers and IBANs in a text that comes in pieces. What it gives
// does not depend on how the text is cut.
type scanner struct {
	cards, ibans bool
	keep         int
	// json says that the text is JSON, in which a number has to stay a number.
	json bool

	// held is the end of the text so far, about which the next piece decides.
	held []byte
	// before is the byte before held; 0 at the start of the text.
	before byte
	// quoted and escaped say where in JSON the text before held ends.
	quoted, escaped bool
}

// feed takes the next piece and returns what can be sent: its own text. last says
// that no piece follows.
func (s *scanner) feed(piece []byte, last bool) []byte {
	text := slices.Concat(s.held, piece)
	i := 0
	for i < len(text) {
		end, decided := s.at(text, i, last)
		if !decided {
			break
		}
		for ; i < end; i++ {
			s.pass(text[i])
		}
	}
	s.held = slices.Clone(text[i:])
	return text[:i:i]
}

// at masks what begins at i, and returns where to go on. decided is false where the
// text has to go on first.
func (s *scanner) at(text []byte, i int, last bool) (end int, decided bool) {
	c := text[i]
	switch {
	case s.cards && digit(c) && !digit(s.before):
		run := read(text, i, maxCard, digit)
		if run.open && !last {
			return i, false
		}
		if end, ok := run.longest(minCard, isCard); ok {
			s.mask(text[i:end], 0)
			return end, true
		}
	case s.ibans && letter(c) && !alphanumeric(s.before) && beginsIBAN(text[i:]):
		run := read(text, i, maxIBAN, alphanumeric)
		if run.open && !last {
			return i, false
		}
		if end, ok := run.longest(minIBAN, isIBAN); ok {
			s.mask(text[i:end], len("DE"))
			return end, true
		}
	}
	return i + 1, true
}

// pass notes a byte that is behind.
func (s *scanner) pass(c byte) {
	s.before = c
	if !s.json {
		return
	}
	switch {
	case s.escaped:
		s.escaped = false
	case c == '\\' && s.quoted:
		s.escaped = true
	case c == '"':
		s.quoted = !s.quoted
	}
}

// mask hides all but the first and the last characters. Blanks and hyphens stay.
func (s *scanner) mask(text []byte, first int) {
	with := byte('*')
	if s.json && !s.quoted {
		with = '9' // a number stays a number
	}
	total := 0
	for _, c := range text {
		if alphanumeric(c) {
			total++
		}
	}
	seen := 0
	for i, c := range text {
		if !alphanumeric(c) {
			continue
		}
		if seen++; seen > first && seen <= total-s.keep {
			text[i] = with
		}
	}
}

// run is a row of groups of characters with single blanks or hyphens between them.
type run struct {
	// characters has those of the groups, up to one more than the most wanted.
	characters []byte
	// ends are the places where a group ends: in the text, and in characters.
	ends [][2]int
	// open says that the text ends before the run does.
	open bool
}

// read reads the run that begins at i, up to most characters.
func read(text []byte, i, most int, in func(byte) bool) run {
	var r run
	for i < len(text) && len(r.characters) <= most {
		switch c := text[i]; {
		case in(c):
			r.characters = append(r.characters, c)
			i++
			if i == len(text) || !in(text[i]) {
				r.ends = append(r.ends, [2]int{i, len(r.characters)})
			}
			continue
		case c != ' ' && c != '-':
			return r
		}
		// A separator: the run goes on only if a character follows.
		if i+1 == len(text) {
			r.open = true
			return r
		}
		if !in(text[i+1]) {
			return r
		}
		i++
	}
	r.open = i == len(text) && len(r.characters) <= most
	return r
}

// longest returns where in the text the longest beginning of whole groups ends that is
// what is looked for.
func (r run) longest(least int, is func([]byte) bool) (end int, ok bool) {
	for _, e := range slices.Backward(r.ends) {
		if n := e[1]; n >= least && is(r.characters[:n]) {
			return e[0], true
		}
	}
	return 0, false
}

func digit(c byte) bool        { return c >= '0' && c <= '9' }
func letter(c byte) bool       { return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }
func alphanumeric(c byte) bool { return digit(c) || letter(c) }

// beginsIBAN reports whether the text, as far as it goes, begins like an IBAN: with two
// letters and two digits.
func beginsIBAN(text []byte) bool {
	for i, in := range [...]func(byte) bool{letter, letter, digit, digit} {
		if i == len(text) {
			return true
		}
		if !in(text[i]) {
			return false
		}
	}
	return true
}

// isCard reports whether digits are a card number: of the length that its issuer's
// numbers have (ISO/IEC 7812), with the right check digit.
func isCard(digits []byte) bool {
	n := len(digits)
	if n < minCard || n > maxCard {
		return false
	}
	two := int(digits[0]-'0')*10 + int(digits[1]-'0')
	switch {
	case digits[0] == '4':
		if n != 13 && n != 16 && n != 19 {
			return false
		}
	case two >= 51 && two <= 55, two >= 22 && two <= 27:
		if n != 16 {
			return false
		}
	case two == 34 || two == 37:
		if n != 15 {
			return false
		}
	case two == 30 || two == 36 || two == 38 || two == 39:
		if n < 14 {
			return false
		}
	case two == 35:
		if n < 16 {
			return false
		}
	case two == 50, two >= 56 && two <= 69:
		// Maestro, Discover, UnionPay and others.
	default:
		return false
	}
	return luhn(digits)
}

// luhn checks the check digit (ISO/IEC 7812-1, annex B).
func luhn(digits []byte) bool {
	sum := 0
	for i, c := range digits {
		d := int(c - '0')
		if (len(digits)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// isIBAN checks the form and the check digits (ISO 13616, ISO 7064 mod 97-10).
func isIBAN(text []byte) bool {
	if len(text) < minIBAN || len(text) > maxIBAN || !letter(text[0]) || !letter(text[1]) || !digit(text[2]) || !digit(text[3]) {
		return false
	}
	remainder := 0
	for i := range text {
		c := text[(i+4)%len(text)]
		switch {
		case digit(c):
			remainder = (remainder*10 + int(c-'0')) % 97
		default:
			remainder = (remainder*100 + int(c|0x20-'a') + 10) % 97
		}
	}
	return remainder == 1
}
