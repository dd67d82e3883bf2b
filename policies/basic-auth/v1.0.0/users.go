package basicauth

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Bounds of a user file, which keep one verification affordable.
const (
	maxUsers      = 100_000
	maxName       = 256
	maxPassword   = 1024
	maxBcryptCost = 14
	// maxBcryptPassword is the longest password that bcrypt reads.
	maxBcryptPassword = 72
	maxArgonMemory    = 256 << 10 // KiB
	maxArgonTime      = 16
	maxArgonThreads   = 16
	maxProblems       = 20
)

// users are those of one file. They are immutable.
type users struct {
	byName map[string]hash
	// decoys are hashes with each of the costs that the file has: what the password
	// of an unknown user is compared with, so that it takes as long.
	decoys []hash
	seed   maphash.Seed
}

// hash is a parsed password hash.
type hash interface {
	// matches takes as long whether it does or not.
	matches(password string) bool
	// cost is the same for hashes that take the same time.
	cost() string
	// decoy is a hash of the same cost that no password matches.
	decoy() hash
	// text is the hash as it stands in the file.
	text() string
}

// parseUsers reads a file in htpasswd's form. It reports all problems with their lines,
// and quotes nothing of the file.
func parseUsers(text string) (*users, error) {
	u := &users{byName: map[string]hash{}, seed: maphash.MakeSeed()}
	var problems []error
	problem := func(line int, format string, args ...any) {
		if len(problems) <= maxProblems {
			problems = append(problems, fmt.Errorf("line %d: %w", line, fmt.Errorf(format, args...)))
		}
	}
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		line = strings.TrimSuffix(line, "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, encoded, ok := strings.Cut(line, ":")
		if !ok || name == "" || len(name) > maxName {
			problem(number, "is not NAME:HASH with a name of 1 to %d bytes", maxName)
			continue
		}
		if _, twice := u.byName[name]; twice {
			problem(number, "names a user that is there already")
			continue
		}
		h, err := parseHash(encoded)
		if err != nil {
			problem(number, "%w", err)
			continue
		}
		if len(u.byName) == maxUsers {
			problem(number, "exceeds the limit of %d users in a file", maxUsers)
			break
		}
		u.byName[name] = h
		if !slices.ContainsFunc(u.decoys, func(d hash) bool { return d.cost() == h.cost() }) {
			u.decoys = append(u.decoys, h.decoy())
		}
	}
	switch {
	case len(problems) > 0:
		return nil, errors.Join(problems...)
	case len(u.byName) == 0:
		return nil, errors.New("there is no user in it")
	}
	return u, nil
}

// find returns the user's hash, or for a user that is not known a decoy: always the
// same one for a name, as a known user always has the same hash.
func (u *users) find(name string) (h hash, known bool) {
	if h, known = u.byName[name]; known {
		return h, true
	}
	return u.decoys[maphash.String(u.seed, name)%uint64(len(u.decoys))], false
}

func parseHash(s string) (hash, error) {
	switch {
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		cost, err := bcrypt.Cost([]byte(s))
		switch {
		case err != nil || len(s) != 60:
			return nil, errors.New("has a bcrypt hash that is cut or changed; make it with htpasswd -B")
		case cost > maxBcryptCost:
			return nil, fmt.Errorf("has a bcrypt cost of %d; at most %d can be checked for each request", cost, maxBcryptCost)
		}
		return bcryptHash(s), nil
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon(s)
	}
	return nil, errors.New("has a hash that is neither bcrypt's nor argon2id's; other forms of htpasswd can be guessed too fast. Make it with htpasswd -B")
}

type bcryptHash string

func (h bcryptHash) matches(password string) bool {
	// bcrypt would take a longer password for its beginning.
	short := len(password) <= maxBcryptPassword
	err := bcrypt.CompareHashAndPassword([]byte(h), []byte(password[:min(len(password), maxBcryptPassword)]))
	return err == nil && short
}

func (h bcryptHash) text() string { return string(h) }

func (h bcryptHash) cost() string { return string(h[4:6]) }

func (h bcryptHash) decoy() hash {
	// The salt of the hash, and a sum that no password is likely to have.
	return bcryptHash(string(h[:29]) + strings.Repeat(".", 31))
}

// argonHash is argon2id's, in the form of the PHC string format.
type argonHash struct {
	memory, time uint32
	threads      uint8
	salt, sum    []byte
	encoded      string
}

func (h argonHash) text() string { return h.encoded }

func parseArgon(s string) (hash, error) {
	bad := errors.New("has an argon2id hash that is not $argon2id$v=19$m=MEMORY,t=TIME,p=THREADS$SALT$HASH")
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[2] != "v=19" {
		return nil, bad
	}
	numbers := map[string]uint64{}
	for field := range strings.SplitSeq(parts[3], ",") {
		name, value, _ := strings.Cut(field, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if _, twice := numbers[name]; err != nil || twice {
			return nil, bad
		}
		numbers[name] = n
	}
	m, t, p := numbers["m"], numbers["t"], numbers["p"]
	salt, saltErr := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	sum, sumErr := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	switch {
	case len(numbers) != 3 || saltErr != nil || sumErr != nil || len(salt) < 8 || len(salt) > 64 || len(sum) < 16 || len(sum) > 64 || m < 8*p || t == 0 || p == 0:
		return nil, bad
	case m > maxArgonMemory || t > maxArgonTime || p > maxArgonThreads:
		return nil, fmt.Errorf("has an argon2id cost of m=%d,t=%d,p=%d; at most m=%d,t=%d,p=%d can be checked for each request", m, t, p, maxArgonMemory, maxArgonTime, maxArgonThreads)
	}
	return argonHash{memory: uint32(m), time: uint32(t), threads: uint8(p), salt: salt, sum: sum, encoded: s}, nil
}

func (h argonHash) matches(password string) bool {
	sum := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

func (h argonHash) cost() string {
	return fmt.Sprintf("argon2id %d %d %d %d", h.memory, h.time, h.threads, len(h.sum))
}

func (h argonHash) decoy() hash {
	h.sum = make([]byte, len(h.sum))
	return h
}
