package mtlsidentity

import "strings"

// Bounds of x-forwarded-client-cert.
const (
	maxHeader   = 64 << 10
	maxElements = 32
)

// lastElement reads the last element of x-forwarded-client-cert: the one that the
// nearest proxy has written. The form is that of Envoy's documentation of the header:
// elements are separated by commas, key=value pairs by semicolons, and a value with one
// of these, or with "=", stands in double quotes, in which a backslash escapes a quote.
// Of a key that occurs twice the first counts, as Envoy writes it for several SANs.
func lastElement(value string) (certificate, bool) {
	if len(value) > maxHeader {
		return certificate{}, false
	}
	var c certificate
	seen := map[string]bool{}
	elements := 1
	for rest := value; ; {
		key, v, after, ok := pair(rest)
		if !ok {
			return certificate{}, false
		}
		if key = strings.ToLower(key); !seen[key] {
			seen[key] = true
			switch key {
			case "uri":
				c.uri = v
			case "dns":
				c.dns = v
			case "subject":
				c.subject = v
			case "hash":
				c.digest = v
			case "by", "cert", "chain":
			default:
				return certificate{}, false
			}
		}
		if after == "" {
			return c, true
		}
		separator := after[0]
		rest = after[1:]
		if separator == ',' {
			if elements++; elements > maxElements {
				return certificate{}, false
			}
			c = certificate{}
			clear(seen)
			rest = strings.TrimLeft(rest, " ")
		}
	}
}

// pair reads key=value. after is empty, or begins with the separator behind it.
func pair(s string) (key, value, after string, ok bool) {
	key, s, ok = strings.Cut(s, "=")
	if !ok || key == "" || strings.ContainsAny(key, ",;\" ") {
		return "", "", "", false
	}
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ",;")
		if end < 0 {
			end = len(s)
		}
		return key, s[:end], s[end:], !strings.Contains(s[:end], `"`)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i == len(s) {
				return "", "", "", false
			}
			b.WriteByte(s[i])
		case '"':
			after = s[i+1:]
			return key, b.String(), after, after == "" || after[0] == ',' || after[0] == ';'
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", "", false
}
