package docs

import (
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// link is an inline link or image, without code spans before it on the line.
var (
	link     = regexp.MustCompile(`\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)(?: "[^"]*")?\)`)
	codeSpan = regexp.MustCompile("`[^`]*`")
)

// CheckLinks returns a problem for each relative link of the pages whose file or heading
// does not exist. Links to other sites are not followed.
func CheckLinks(tree fs.FS, pages []string) ([]Problem, error) {
	anchors := map[string]map[string]bool{}
	var problems []Problem
	for _, file := range pages {
		p, err := readPage(tree, file)
		if err != nil {
			return nil, err
		}
		for _, l := range p.lines {
			if l.code {
				continue
			}
			for _, m := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(l.text, "``"), -1) {
				text, err := checkLink(tree, file, m[1], anchors)
				if err != nil {
					return nil, err
				}
				if text != "" {
					problems = append(problems, Problem{file, l.number, text})
				}
			}
		}
	}
	return problems, nil
}

// checkLink returns what is wrong with a link of a page, or "". It keeps the anchors of
// the pages that it reads.
func checkLink(tree fs.FS, from, target string, anchors map[string]map[string]bool) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "the link " + target + " is not a URL", nil
	}
	if u.IsAbs() || u.Host != "" {
		return "", nil
	}
	to := from
	if u.Path != "" {
		to = path.Join(path.Dir(from), u.Path)
		if path.IsAbs(u.Path) || !fs.ValidPath(to) {
			return "the link " + target + " must be relative and stay in the repository", nil
		}
		if _, err := fs.Stat(tree, to); err != nil {
			return "the link " + target + " leads to " + to + ", which does not exist", nil
		}
	}
	if u.Fragment == "" || path.Ext(to) != ".md" {
		return "", nil
	}
	if anchors[to] == nil {
		p, err := readPage(tree, to)
		if err != nil {
			return "", err
		}
		anchors[to] = p.anchors()
	}
	if !anchors[to][strings.ToLower(u.Fragment)] {
		return "the link " + target + " leads to a heading that " + to + " does not have", nil
	}
	return "", nil
}
