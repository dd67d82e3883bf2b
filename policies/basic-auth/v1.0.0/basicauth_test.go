package basicauth_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	basicauth "policyengine.dev/policies/basic-auth/v1.0.0"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

func line(t testing.TB, name, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return name + ":" + string(h)
}

func argon(name, password string) string {
	salt := []byte("0123456789abcdef")
	sum := argon2.IDKey([]byte(password), salt, 1, 64, 1, 32)
	return fmt.Sprintf("%s:$argon2id$v=19$m=64,t=1,p=1$%s$%s", name, base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

func basic(name, password string) policytest.Request {
	return authorization("Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password)))
}

func authorization(value string) policytest.Request {
	return policytest.Request{Headers: policytest.Headers("authorization", value, "x-user", "forged")}
}

const path = "/users"

func start(t testing.TB, h *policytest.Host, more string, lines ...string) *policytest.Policy {
	t.Helper()
	h.Files.Set(path, strings.Join(lines, "\n"))
	return policytest.New(t, basicauth.Policy, "users: {file: "+path+"}\nuserHeader: x-user\n"+more, policytest.WithHost(h))
}

// TestUsers proves who passes, with both kinds of hashes, and what the upstream sees.
func TestUsers(t *testing.T) {
	long := strings.Repeat("a", 72)
	p := start(t, policytest.NewHost(), "", "# people", line(t, "alice", "wonderland:1"), "", argon("bob", "builder")+"\r", line(t, "empty", ""), line(t, "long", long))
	for _, tt := range []struct{ name, password, reason string }{
		{"alice", "wonderland:1", ""}, {"bob", "builder", ""}, {"empty", "", ""}, {"long", long, ""},
		{"alice", "wonderland", basicauth.ReasonInvalid}, {"alice", "", basicauth.ReasonInvalid}, {"alice", "builder", basicauth.ReasonInvalid},
		{"bob", "wonderland:1", basicauth.ReasonInvalid}, {"bob", "", basicauth.ReasonInvalid},
		{"mallory", "builder", basicauth.ReasonInvalid}, {"Alice", "wonderland:1", basicauth.ReasonInvalid}, {"alice ", "wonderland:1", basicauth.ReasonInvalid},
		// bcrypt itself would read 72 bytes of it.
		{"long", long + "b", basicauth.ReasonInvalid},
	} {
		x := p.Send(t, basic(tt.name, tt.password))
		if tt.reason != "" {
			x.WantRejected(t, 401, tt.reason)
			continue
		}
		x.WantPassed(t)
		if x.Request.Principal() == nil || x.Request.Principal().Subject != tt.name || x.Request.Header("x-user") != tt.name || x.Request.Headers().Has("authorization") {
			t.Errorf("%s: the upstream sees %q as %v", tt.name, x.Request.Header("x-user"), x.Request.Principal())
		}
	}
}

// TestCredentials proves how the header is read (RFC 7617).
func TestCredentials(t *testing.T) {
	p := start(t, policytest.NewHost(), "realm: back office", line(t, "alice", "päss"))
	good := base64.StdEncoding.EncodeToString([]byte("alice:päss"))
	for value, reason := range map[string]string{
		"Basic " + good:                         "",
		"bAsIc   " + good:                       "",
		"":                                      basicauth.ReasonMissing,
		"Bearer " + good:                        basicauth.ReasonMalformed,
		"Basic" + good:                          basicauth.ReasonMalformed,
		"Basic !" + good:                        basicauth.ReasonMalformed,
		"Basic " + good + "," + "Basic " + good: basicauth.ReasonMalformed,
		"Basic " + base64.StdEncoding.EncodeToString([]byte("alice")):          basicauth.ReasonMalformed,
		"Basic " + base64.StdEncoding.EncodeToString([]byte(":päss")):          basicauth.ReasonMalformed,
		"Basic " + base64.StdEncoding.EncodeToString([]byte("alice:p\xe4ss")):  basicauth.ReasonMalformed,
		"Basic " + base64.StdEncoding.EncodeToString(make([]byte, 100_000)):    basicauth.ReasonMalformed,
		"Basic " + base64.StdEncoding.EncodeToString([]byte("alice:p\u0000s")): basicauth.ReasonInvalid,
	} {
		x := p.Send(t, authorization(value))
		if reason == "" {
			x.WantPassed(t)
			continue
		}
		x.WantRejected(t, 401, reason)
		if h := x.Immediate.Headers; !strings.Contains(fmt.Sprint(h), `{www-authenticate Basic realm="back office", charset="UTF-8"}`) {
			t.Errorf("%q: there is no challenge in %v", value, h)
		}
	}
	two := authorization("Basic " + good)
	two.Headers = append(two.Headers, two.Headers[0])
	p.Send(t, two).WantRejected(t, 401, basicauth.ReasonMalformed)
}

// TestAChangedFile proves that a new password counts at once, that the old one does not
// although it was remembered, and that a bad file changes nothing.
func TestAChangedFile(t *testing.T) {
	h := policytest.NewHost()
	p := start(t, h, "remember: 1h", line(t, "alice", "old"))
	p.Send(t, basic("alice", "old")).WantPassed(t)
	p.Send(t, basic("alice", "old")).WantPassed(t)
	h.Files.Set(path, line(t, "alice", "new"))
	p.Send(t, basic("alice", "old")).WantRejected(t, 401, basicauth.ReasonInvalid)
	p.Send(t, basic("alice", "new")).WantPassed(t)
	h.Files.Set(path, "alice:plain")
	p.Send(t, basic("alice", "new")).WantPassed(t)
	p.Send(t, basic("alice", "plain")).WantRejected(t, 401, basicauth.ReasonInvalid)
	if log := h.Logs.String(); strings.Count(log, "cannot be used") != 1 || !strings.Contains(log, "line 1") || strings.Contains(log, "plain") {
		t.Errorf("the log is %s", log)
	}
	h.Files.Set(path, line(t, "bob", "new"))
	p.Send(t, basic("alice", "new")).WantRejected(t, 401, basicauth.ReasonInvalid)
}

// TestManyUsers proves that a file may have as many users as the README says, and what
// happens beyond that.
func TestManyUsers(t *testing.T) {
	hash := line(t, "", "good")
	file := func(users int) string {
		var b strings.Builder
		for i := range users {
			fmt.Fprintf(&b, "user-%d%s\n", i, hash)
		}
		return b.String()
	}
	for _, users := range []int{10_000, 100_000} {
		h := policytest.NewHost()
		h.Files.Set(path, file(users))
		p := policytest.New(t, basicauth.Policy, `{users: {file: `+path+`}}`, policytest.WithHost(h))
		for _, user := range []string{"user-0", fmt.Sprint("user-", users/2), fmt.Sprint("user-", users-1)} {
			p.Send(t, basic(user, "good")).WantPassed(t)
		}
		p.Send(t, basic("user-0", "bad")).WantRejected(t, 401, basicauth.ReasonInvalid)
		p.Send(t, basic(fmt.Sprint("user-", users), "good")).WantRejected(t, 401, basicauth.ReasonInvalid)
		// A user is taken out among all the others.
		h.Files.Set(path, strings.Replace(file(users), "user-1"+hash, "", 1))
		h.Clock.Advance(2 * time.Second)
		p.Send(t, basic("user-1", "good")).WantRejected(t, 401, basicauth.ReasonInvalid)
		p.Send(t, basic("user-2", "good")).WantPassed(t)
	}
	if err := basicauth.ParseUsers(file(100_001)); err == nil || !strings.Contains(err.Error(), "line 100001: exceeds the limit of 100000 users") {
		t.Errorf("one more gives %v", err)
	}
	h := policytest.NewHost()
	h.Files.Set(path, strings.Repeat("# too long\n", 2<<20))
	p := policytest.New(t, basicauth.Policy, `{users: {file: `+path+`}}`, policytest.WithHost(h), policytest.WithoutStart())
	if err := p.Instance.(*basicauth.BasicAuth).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a file that is too large gives %v", err)
	}
}

// TestRemembering proves that a right password is hashed again when its time is over,
// and a wrong one each time.
func TestRemembering(t *testing.T) {
	h := policytest.NewHost()
	p := start(t, h, "remember: 1m\nwaiting: 0", line(t, "alice", "right"))
	instance := p.Instance.(*basicauth.BasicAuth)
	p.Send(t, basic("alice", "right")).WantPassed(t)
	leave := basicauth.Occupy(t, instance) // hashing is not possible from here on
	p.Send(t, basic("alice", "right")).WantPassed(t)
	p.Send(t, basic("alice", "wrong")).WantRejected(t, 503, basicauth.ReasonBusy)
	p.Send(t, basic("mallory", "right")).WantRejected(t, 503, basicauth.ReasonBusy)
	h.Clock.Advance(time.Minute)
	p.Send(t, basic("alice", "right")).WantRejected(t, 503, basicauth.ReasonBusy)
	leave()
	p.Send(t, basic("alice", "right")).WantPassed(t)
}

// TestAFloodIsBounded proves that passwords beyond the bounds wait or are refused, and
// that a request whose time is over stops waiting.
func TestAFloodIsBounded(t *testing.T) {
	p := start(t, policytest.NewHost(), "remember: 0s\nconcurrency: 1\nwaiting: 3", line(t, "alice", "right"))
	instance := p.Instance.(*basicauth.BasicAuth)
	refused := p.Send(t, basic("alice", "wrong"))
	refused.WantRejected(t, 401, basicauth.ReasonInvalid)
	leave := basicauth.Occupy(t, instance)
	ctx, cancel := context.WithCancel(t.Context())
	reasons := make(chan string, 3)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			a, err := instance.OnRequestHeaders(ctx, &refused.Request)
			if r, ok := a.(*policy.ImmediateResponse); ok && err == nil {
				reasons <- r.Reason
			}
		})
	}
	for deadline := time.Now().Add(30 * time.Second); basicauth.Waiting(instance) < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("they do not wait")
		}
	}
	p.Send(t, basic("alice", "right")).WantRejected(t, 503, basicauth.ReasonBusy)
	cancel()
	wg.Wait()
	close(reasons)
	for r := range reasons {
		if r != basicauth.ReasonBusy {
			t.Errorf("the reason is %s", r)
		}
	}
	leave()
	p.Send(t, basic("alice", "right")).WantPassed(t)
}

// TestUnknownUsersCostTheSame proves by counting that a name which is not known costs
// exactly one hash, of a kind and cost that the file has.
func TestUnknownUsersCostTheSame(t *testing.T) {
	expensive, err := bcrypt.GenerateFromPassword([]byte("x"), 6)
	if err != nil {
		t.Fatal(err)
	}
	costs := basicauth.DecoyCosts(t, strings.Join([]string{line(t, "a", "x"), line(t, "b", "y"), "c:" + string(expensive), argon("d", "z")}, "\n"))
	if got, want := fmt.Sprint(costs), "[04 06 argon2id 64 1 1 32]"; got != want {
		t.Errorf("the decoys cost %s, want %s", got, want)
	}
}

func TestRefusedParameters(t *testing.T) {
	for params, want := range map[string]string{
		`{}`:                            "users",
		`{users: "# nobody"}`:           "users: there is no user in it",
		`{users: "alice"}`:              "users: line 1: is not NAME:HASH",
		`{users: "a:x\n\nb:{SHA}abc="}`: "line 3: has a hash that is neither bcrypt's nor argon2id's",
		`{users: "a:$2y$04$short"}`:     "line 1: has a bcrypt hash that is cut or changed",
		`{users: "a:$2y$31$abcdefghijklmnopqrstuuOYfJJpTQFPZPFCTzFyNQ3eC1dD3Cyti"}`:                   "line 1: has a bcrypt cost of 31; at most 14",
		`{users: "a:$argon2id$v=19$m=9999999,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg"}`: "line 1: has an argon2id cost of m=9999999",
		`{users: "a:$argon2id$v=16$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg"}`:      "line 1: has an argon2id hash that is not",
		`{users: "a:$argon2id$v=19$m=64,t=1,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg"}`:  "line 1: has an argon2id hash that is not",
		`{users: {file: /x}, remember: 2h}`:                                                           "remember: 2h0m0s is not between 0s and 1h0m0s",
		`{users: {file: /x}, userHeader: host}`:                                                       `userHeader: "host" is the authority`,
		`{users: {file: /x}, realm: "a\"b"}`:                                                          "realm",
	} {
		if err := policytest.NewError(t, basicauth.Policy, params); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q is not in the error: %v", params, want, err)
		}
	}
	twice := line(t, "alice", "a")
	if err := policytest.NewError(t, basicauth.Policy, fmt.Sprintf("users: %q", twice+"\n"+twice)); !strings.Contains(err.Error(), "line 2: names a user that is there already") {
		t.Error(err)
	}
}

// FuzzAuthorization proves that no header panics, and that only the right one passes.
func FuzzAuthorization(f *testing.F) {
	p := start(f, policytest.NewHost(), "", line(f, "alice", "right"))
	for _, s := range []string{"Basic YWxpY2U6cmlnaHQ=", "Basic", "basic  YWxpY2U6", "Basic YWxpY2U6cmlnaHQ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if !policy.ValidHeaderValue(value) {
			return
		}
		x := p.Send(t, authorization(value))
		rest, ok := strings.CutPrefix(strings.ToLower(value), "basic ")
		decoded, err := base64.StdEncoding.DecodeString(strings.TrimLeft(value[min(len(value), len("basic ")):], " "))
		if right := ok && rest != "" && err == nil && string(decoded) == "alice:right"; (x.Immediate == nil) != right {
			t.Errorf("%q: passed is %t", value, x.Immediate == nil)
		}
	})
}

// FuzzUsers proves that no file panics, and that errors quote nothing of it.
func FuzzUsers(f *testing.F) {
	f.Add(line(f, "alice", "right"))
	f.Add(argon("bob", "x") + "\nsecret-name:secret-hash")
	f.Fuzz(func(t *testing.T, text string) {
		if err := basicauth.ParseUsers(text); err != nil && strings.Contains(err.Error(), "secret-") {
			t.Error(err)
		}
	})
}

// BenchmarkOnRequestHeaders compares with the bare hash.
func BenchmarkOnRequestHeaders(b *testing.B) {
	h, err := bcrypt.GenerateFromPassword([]byte("right"), 10)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("bcrypt alone", func(b *testing.B) {
		for b.Loop() {
			if err := bcrypt.CompareHashAndPassword(h, []byte("right")); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, remember := range map[string]string{"hashed": "0s", "remembered": "1h"} {
		p := start(b, policytest.NewHost(), "forwardCredentials: true\nremember: "+remember, "alice:"+string(h))
		instance := p.Instance.(*basicauth.BasicAuth)
		request := p.Send(b, basic("alice", "right")).Request
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if a, err := instance.OnRequestHeaders(b.Context(), &request); a == nil || err != nil {
					b.Fatal(a, err)
				}
			}
		})
	}
}
