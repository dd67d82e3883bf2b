package policytest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/sdk/definition"
)

// damagedRounds is how many exchanges an example goes through with each damaged file.
const damagedRounds = 5

// readFiles reads the files that examples name, which lie beside policy.yaml.
func readFiles(definitionPath string, def *definition.Definition) (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	var problems []error
	for i, e := range def.Examples {
		all[e.Name] = map[string]string{}
		for _, path := range sortedKeys(e.Files) {
			content, err := os.ReadFile(filepath.Join(filepath.Dir(definitionPath), filepath.FromSlash(e.Files[path])))
			if err != nil {
				problems = append(problems, fmt.Errorf("examples[%d].files: %w (under Bazel, add the file to the data of the policy's go_library)", i, err))
				continue
			}
			all[e.Name][path] = string(content)
		}
	}
	return all, errors.Join(problems...)
}

// checkFiles damages the files that an example names, before and after the policy has
// read a good one.
func checkFiles(t testing.TB, c *conformance) {
	for _, e := range c.def.Examples {
		for _, path := range sortedKeys(e.Files) {
			for _, damaged := range damagedContents(c.files[e.Name][path]) {
				for _, first := range []bool{true, false} {
					c.checkDamagedFile(t, e, path, damaged, first)
				}
			}
		}
	}
}

func (c *conformance) checkDamagedFile(t testing.TB, e definition.Example, path, damaged string, first bool) {
	t.Helper()
	host := c.host(e)
	if first {
		host.SetFile(path, damaged)
	}
	p, err := c.build(e.Params, host)
	if err != nil {
		return // whether New refuses it is not asked here, and New reads no file
	}
	(&subject{example: e, policy: p, secrets: c.secrets(e.Params), actions: map[any]string{}}).live(t, func(s *subject) {
		g := s.hostile(5)
		for i := range damagedRounds {
			if i == damagedRounds/2 && !first {
				host.SetFile(path, damaged)
			}
			req, resp, _ := g.exchange()
			var err error
			within(t, "a method", func() { err = s.drive(p, req, resp) })
			if errors.Is(err, errPanic) {
				t.Fatalf("%s, with %s damaged (%.40q): %v", s, path, damaged, err)
			}
		}
	})
}

// damagedContents are what takes the place of a file's content.
func damagedContents(content string) []string {
	r := rand.New(rand.NewPCG(6, 7))
	out := []string{"", "\n", "\x00", "{}", "[]", "null", "\xff\xfe", garbage(r), strings.Repeat("x", 100_000), strings.Repeat("[", 100_000)}
	for n := range 8 {
		out = append(out, content[:n*len(content)/8])
	}
	for range 8 {
		if len(content) > 0 {
			b := []byte(content)
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
			out = append(out, string(b))
		}
	}
	return out
}
