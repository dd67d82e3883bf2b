package apikeyvalidation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"policyengine.dev/sdk/policy"
)

const (
	// maxFileBytes bounds a key file, or the files of a directory together.
	maxFileBytes = policy.FileSizeLimit
	// suffix is how the names of key files in a directory end.
	suffix = ".json"
)

// parseFiles reads key files into one table. It tells all problems, up to a bound.
func parseFiles(files []policy.NamedFile, peppers bool) (*table, error) {
	t := newTable()
	var problems problemList
	for _, f := range files {
		parseFile(f, t, peppers, &problems)
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// parseFile adds the keys of a file to t: a JSON object {"keys": [...]} with keys as they
// are in the parameters. A file that is cut short is not one.
func parseFile(f policy.NamedFile, t *table, peppers bool, problems *problemList) {
	where := f.Name
	if where != "" {
		where += ": "
	}
	d := json.NewDecoder(bytes.NewReader(f.Content))
	lines := lineCounter{content: f.Content}
	fail := func(err error) {
		problems.add(fmt.Errorf("%sline %d: %w", where, lines.at(d.InputOffset()), err))
	}
	if err := expect(d, json.Delim('{'), "keys", json.Delim('[')); err != nil {
		fail(err)
		return
	}
	for i := 0; d.More(); i++ {
		if len(t.entries) == maxKeys {
			fail(fmt.Errorf("keys[%d]: there are more than %d keys", i, maxKeys))
			return
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			fail(fmt.Errorf("keys[%d]: it is not JSON", i))
			return
		}
		k, err := decodeKey(raw)
		if err != nil {
			fail(fmt.Errorf("keys[%d]%w", i, err))
			continue
		}
		for _, err := range t.add(&k, peppers) {
			fail(fmt.Errorf("keys[%d]%w", i, err))
		}
	}
	if err := expect(d, json.Delim(']'), json.Delim('}')); err != nil {
		fail(err)
		return
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		fail(errors.New("something follows the object"))
	}
}

// expect reads tokens, which have to be these.
func expect(d *json.Decoder, tokens ...json.Token) error {
	for _, want := range tokens {
		if got, err := d.Token(); err != nil || got != want {
			return errors.New(`it is not one JSON object {"keys": [...]}, or it is cut short`)
		}
	}
	return nil
}

// members are the names that a key's members may have.
var members = map[string]bool{"id": true, "sha256": true, "hmacSha256": true, "scopes": true, "labels": true, "notBefore": true, "expires": true}

// decodeKey reads one key strictly: encoding/json alone would take "ID" for "id", and
// the last of two members.
func decodeKey(raw json.RawMessage) (Key, error) {
	var k Key
	if err := checkMembers(raw); err != nil {
		return k, err
	}
	if err := json.Unmarshal(raw, &k); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return k, wrongType(wrong.Field)
		}
		return k, errors.New(".notBefore, .expires: must be times such as 2026-01-31T00:00:00Z (RFC 3339)")
	}
	return k, nil
}

func wrongType(field string) error {
	field, _, _ = strings.Cut(field, ".")
	want := "a string"
	switch field {
	case "scopes":
		want = "a list of strings"
	case "labels":
		want = "an object whose values are strings"
	}
	return fmt.Errorf(".%s: must be %s", field, want)
}

// checkMembers makes sure that raw is an object with known members, each once.
func checkMembers(raw json.RawMessage) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New(": it is not an object")
	}
	seen := make(map[string]bool, len(members))
	for d.More() {
		t, err := d.Token()
		name, _ := t.(string)
		switch {
		case err != nil:
			return errors.New(": it is not JSON")
		case !members[name]:
			return errors.New(": unknown member; the members are id, sha256, hmacSha256, scopes, labels, notBefore and expires")
		case seen[name]:
			return fmt.Errorf(".%s: it is there twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return errors.New(": it is not JSON")
		}
	}
	return nil
}

// lineCounter tells lines of rising offsets.
type lineCounter struct {
	content []byte
	offset  int64
	line    int
}

func (l *lineCounter) at(offset int64) int {
	offset = min(offset, int64(len(l.content)))
	if offset > l.offset {
		l.line += bytes.Count(l.content[l.offset:offset], []byte("\n"))
		l.offset = offset
	}
	return l.line + 1
}
