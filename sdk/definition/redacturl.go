package definition

import "strings"

// redactURLs masks the user information, the query and the fragment of each URL in a
// text: they often are credentials.
func (r *redactor) redactURLs(text string) string {
	var b strings.Builder
	rest := text
	for {
		i := strings.Index(rest, "://")
		if i < 0 {
			break
		}
		i += len("://")
		b.WriteString(rest[:i])
		rest = rest[i:]
		end := strings.IndexAny(rest, " \t\r\n\"'<>")
		if end < 0 {
			end = len(rest)
		}
		r.redactURL(&b, rest[:end])
		rest = rest[end:]
	}
	if b.Len() == 0 {
		return text
	}
	b.WriteString(rest)
	return b.String()
}

// redactURL writes what follows a URL's scheme.
func (r *redactor) redactURL(b *strings.Builder, url string) {
	authority := len(url)
	if i := strings.IndexAny(url, "/?#"); i >= 0 {
		authority = i
	}
	if at := strings.LastIndexByte(url[:authority], '@'); at >= 0 {
		r.hideInURL(url[:at])
		b.WriteString(redacted + "@")
		url = url[at+1:]
	}
	query := strings.IndexAny(url, "?#")
	if query < 0 || query == len(url)-1 {
		b.WriteString(url)
		return
	}
	r.hideInURL(url[query+1:])
	b.WriteString(url[:query+1] + redacted)
}

func (r *redactor) hideInURL(text string) {
	if len(text) >= shortestSecret {
		r.inURLs = append(r.inURLs, text)
	}
}
