// Package docs checks what the Markdown pages of the repository refer to: that links lead
// to files and headings, and that commands exist.
//
// It takes the tree as an fs.FS, reads no other file, and runs nothing.
package docs

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// A Problem is a reference that leads nowhere.
type Problem struct {
	// File is the path of the page, with slashes. Line begins with 1.
	File string
	Line int
	// Text says what is wrong.
	Text string
}

func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text) }

// Pages returns the paths of all Markdown files in the tree, sorted. Directories that begin
// with a dot or with "bazel-" are left out.
func Pages(tree fs.FS) ([]string, error) {
	var pages []string
	err := fs.WalkDir(tree, ".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case strings.HasPrefix(d.Name(), "bazel-") && !strings.HasSuffix(d.Name(), ".md"):
			if d.IsDir() {
				return fs.SkipDir
			}
		case !d.IsDir() && path.Ext(file) == ".md":
			pages = append(pages, file)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing pages: %w", err)
	}
	return pages, nil
}

// A page is a Markdown file, with its fenced blocks apart from its text.
type page struct {
	file  string
	lines []line
}

type line struct {
	number int
	text   string
	// code says that the line is in a fenced block.
	code bool
}

func readPage(tree fs.FS, file string) (page, error) {
	src, err := fs.ReadFile(tree, file)
	if err != nil {
		return page{}, fmt.Errorf("reading a page: %w", err)
	}
	p := page{file: file}
	code := false
	for i, text := range strings.Split(string(src), "\n") {
		if strings.HasPrefix(strings.TrimSpace(text), "```") {
			code = !code
			continue
		}
		p.lines = append(p.lines, line{number: i + 1, text: text, code: code})
	}
	return p, nil
}

var (
	heading  = regexp.MustCompile(`^#{1,6} +(.*?) *$`)
	htmlName = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	linkText = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)
	notInID  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the fragments that a link to the page may have, as GitHub makes them of
// headings.
func (p page) anchors() map[string]bool {
	all := map[string]bool{}
	for _, l := range p.lines {
		if l.code {
			continue
		}
		for _, m := range htmlName.FindAllStringSubmatch(l.text, -1) {
			all[m[1]] = true
		}
		m := heading.FindStringSubmatch(l.text)
		if m == nil {
			continue
		}
		id := strings.ToLower(linkText.ReplaceAllString(m[1], "$1"))
		id = strings.ReplaceAll(notInID.ReplaceAllString(id, ""), " ", "-")
		unique := id
		for n := 1; all[unique]; n++ {
			unique = fmt.Sprintf("%s-%d", id, n)
		}
		all[unique] = true
	}
	return all
}
