package apikeyvalidation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"policyengine.dev/sdk/policy"
)

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// TestKeyFiles proves that a file is read strictly, and that each problem has its file,
// line and key.
func TestKeyFiles(t *testing.T) {
	one := func(members string) string {
		return "{\"keys\": [\n{\"id\": \"a\", \"sha256\": \"" + hashOf("a") + "\"},\n{" + members + "}]}"
	}
	const notObject = `it is not one JSON object {"keys": [...]}, or it is cut short`
	for _, tt := range []struct{ name, content, want string }{
		{"good", one(`"id": "b", "sha256": "` + hashOf("b") + `", "scopes": ["x"], "labels": {"a": "b"}, "notBefore": "2026-01-01T00:00:00Z", "expires": "2027-01-01T00:00:00+01:00"`), ""},
		{"no keys", `{"keys": []}`, ""},
		{"nothing", "", "k.json: line 1: " + notObject},
		{"a list", "[]", "line 1: " + notObject},
		{"another member", `{"key": []}`, "line 1: " + notObject},
		{"a second member", `{"keys": [], "x": 1}`, "line 1: " + notObject},
		{"something behind", `{"keys": []} {}`, "line 1: something follows the object"},
		{"cut short", one(`"id": "b"`)[:100], "line 2: " + notObject},
		{"cut short behind a key", `{"keys": []`, "line 1: " + notObject},
		{"no object", `{"keys": ["a"]}`, "line 1: keys[0]: it is not an object"},
		{"an unknown member", one(`"Id": "b"`), "line 3: keys[1]: unknown member"},
		{"a member twice", one(`"id": "b", "id": "c"`), "line 3: keys[1].id: it is there twice"},
		{"a number for a string", one(`"id": 7`), "line 3: keys[1].id: must be a string"},
		{"a string for scopes", one(`"scopes": "x"`), "keys[1].scopes: must be a list of strings"},
		{"a number among scopes", one(`"scopes": [1]`), "keys[1].scopes: must be a list of strings"},
		{"a number among labels", one(`"labels": {"a": 1}`), "keys[1].labels: must be an object"},
		{"no time", one(`"expires": "soon"`), "keys[1].notBefore, .expires: must be times"},
		{"no hash", one(`"id": "b"`), "keys[1].sha256, .hmacSha256: give exactly one of them"},
		{"an HMAC without peppers", one(`"id": "b", "hmacSha256": "` + hashOf("b") + `"`), "keys[1].hmacSha256: requires peppers"},
		{"the same key twice", one(`"id": "b", "sha256": "` + hashOf("a") + `"`), "line 3: keys[1].sha256: an earlier key has it already"},
		{"many scopes", one(`"id": "b", "sha256": "` + hashOf("b") + `", "scopes": ["x"` + strings.Repeat(`,"x"`, maxScopes) + `]`), "keys[1].scopes: there are 65, more than 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseFiles([]policy.NamedFile{{Name: "k.json", Content: []byte(tt.content)}}, false)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), hashOf("a")) {
				t.Error("the error tells a hash")
			}
		})
	}
}

// TestNoBeginningOfAFileIsAFile proves that a file which is written over in place, and read
// half, never takes keys away.
func TestNoBeginningOfAFileIsAFile(t *testing.T) {
	content := fmt.Sprintf("{\"keys\": [\n{\"id\": \"a\", \"sha256\": %q},\n{\"id\": \"b\", \"sha256\": %q}\n]}", hashOf("a"), hashOf("b"))
	for n := range len(content) {
		if _, err := parseFiles([]policy.NamedFile{{Content: []byte(content[:n])}}, false); err == nil {
			t.Errorf("%q is taken for a file", content[:n])
		}
	}
}

// TestProblemsAreBounded proves that a file full of mistakes makes a short message.
func TestProblemsAreBounded(t *testing.T) {
	content := `{"keys": [{}` + strings.Repeat(`,{}`, 9999) + `]}`
	_, err := parseFiles([]policy.NamedFile{{Content: []byte(content)}}, false)
	if n := strings.Count(fmt.Sprint(err), "\n"); n != maxProblems || !strings.HasSuffix(err.Error(), "and 19980 more problems") {
		t.Errorf("%d lines, ending in %.40q", n+1, err.Error()[len(err.Error())-40:])
	}
}

func TestTooManyKeys(t *testing.T) {
	tab := newTable()
	tab.entries = make([]entry, maxKeys)
	var problems problemList
	parseFile(policy.NamedFile{Content: []byte(`{"keys": [{"id": "a"}]}`)}, tab, false, &problems)
	if err := problems.err(); err == nil || !strings.Contains(err.Error(), "more than 200000 keys") {
		t.Errorf("the error is %v", err)
	}
}

// TestEntriesThatShareASlot proves that two keys with one seeded hash are both found.
func TestEntriesThatShareASlot(t *testing.T) {
	tab := newTable()
	for _, key := range []string{"a", "b"} {
		if problems := tab.add(&Key{ID: key, SHA256: hashOf(key)}, false); problems != nil {
			t.Fatal(problems)
		}
	}
	// As if both had the hash of each other.
	a, b := tab.entries[0], tab.entries[1]
	tab.entries[1].next = 1
	tab.first[tab.slot(&a.digest)], tab.first[tab.slot(&b.digest)] = 2, 2
	for _, e := range []entry{a, b} {
		if found := tab.find(&e.digest, false); found == nil || found.principal.Subject != e.principal.Subject {
			t.Errorf("%s is not found", e.principal.Subject)
		}
		if tab.find(&e.digest, true) != nil {
			t.Errorf("%s is found as an HMAC", e.principal.Subject)
		}
	}
}

// FuzzKeyFile proves that no file panics, and that the keys of one that is accepted are
// found.
func FuzzKeyFile(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(`{"keys": [{"id": "a", "sha256": %q, "scopes": ["x"], "labels": {"a": "b"}, "expires": "2026-01-01T00:00:00Z"}]}`, hashOf("a"))), true)
	f.Add([]byte(fmt.Sprintf(`{"keys": [{"id": "a", "hmacSha256": %q}]}`, hashOf("a"))), true)
	f.Fuzz(func(t *testing.T, content []byte, peppers bool) {
		tab, err := parseFiles([]policy.NamedFile{{Content: content}}, peppers)
		if err != nil {
			return
		}
		for i := range tab.entries {
			e := &tab.entries[i]
			if tab.find(&e.digest, e.peppered) != e || !validID(e.principal.Subject) || e.peppered && !peppers {
				t.Errorf("%q gives an entry that is not found, or not valid: %+v", content, e)
			}
		}
	})
}
