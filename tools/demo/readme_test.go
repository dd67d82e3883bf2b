package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTheReadmeShowsTheTable proves that each line of the table in README.md is a row of
// the demo, with the status and the decision that the row expects.
func TestTheReadmeShowsTheTable(t *testing.T) {
	s, err := newScene(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.rows()
	if err != nil {
		t.Fatal(err)
	}
	var results []result
	for _, r := range rows {
		results = append(results, result{row: r, status: r.status, decided: r.decided})
	}
	var table bytes.Buffer
	writeTable(&table, results)
	printed := map[string]bool{}
	for line := range strings.Lines(table.String()) {
		printed[withoutTime(line)] = true
	}

	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, found := strings.Cut(string(readme), "\nREQUEST ")
	shown, _, closed := strings.Cut(shown, "\n...\n```")
	if !found || !closed {
		t.Fatal("README.md has no block that begins with REQUEST and ends with ...")
	}
	lines := strings.Split(shown, "\n")[1:]
	if len(lines) < 5 {
		t.Errorf("README.md shows only %d rows", len(lines))
	}
	for _, line := range lines {
		if !printed[withoutTime(line)] {
			t.Errorf("the demo does not print this line of README.md:\n%s\nIt prints:\n%s", line, table.String())
		}
	}
}

var (
	duration = regexp.MustCompile(`[0-9.]+ ms\s*$`)
	padding  = regexp.MustCompile(` +`)
)

// withoutTime removes what differs from run to run: the time, and the width of columns.
func withoutTime(line string) string {
	return padding.ReplaceAllString(strings.TrimSpace(duration.ReplaceAllString(line, "")), " ")
}
