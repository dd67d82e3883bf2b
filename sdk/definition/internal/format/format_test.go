package format_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"policyengine.dev/sdk/definition/internal/format"
)

// The values of each format, most of them from the specification that it follows.
var values = map[string]struct{ good, bad []string }{
	"backend": { // engine.yaml's names, and RFC 3986
		good: []string{"authz", "a", "a-1", "https://authz.example:8443/v1", "http://127.0.0.1:80/"},
		bad:  []string{"", "A", "1a", "a_b", "a.b", "https://u:p@h/", "https://h/?q", "https://h/#f", "ftp://h/", "https://", strings.Repeat("a", 64)},
	},
	"ipv4": { // RFC 2673, section 3.2; RFC 1166
		good: []string{"0.0.0.0", "192.0.2.1", "255.255.255.255", "1.2.3.4"},
		bad: []string{"+1.2.3.4", "1.2.3.-4", "1.2.3.+4", "01.2.3.4", "1.2.3.04", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ", " 1.2.3.4", "1..2.3", "0x1.2.3.4",
			"1.2.3.4/8", "::ffff:1.2.3.4", "1.2.3.٤", "127.1", ""},
	},
	"ipv6": { // RFC 4291, section 2.2
		good: []string{"ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "2001:DB8:0:0:8:800:200C:417A", "2001:DB8::8:800:200C:417A", "FF01::101", "::1", "::",
			"0:0:0:0:0:0:13.1.68.3", "::13.1.68.3", "::FFFF:129.144.52.38"},
		bad: []string{"1.2.3.4", "::1%eth0", "[::1]", "1::2::3", "12345::", "::1/64", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::FFFF:1.2.3", "::FFFF:01.2.3.4", "::+1", ":1", ""},
	},
	"cidr": { // RFC 4632, section 3.1; RFC 4291, section 2.3
		good: []string{"10.0.0.0/8", "0.0.0.0/0", "192.0.2.1/32", "2001:0DB8:0:CD30::/60", "::/0", "::1/128"},
		bad:  []string{"10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/255.0.0.0", "2001:db8::1/32", "::/129", "fe80::%eth0/64", "/8", ""},
	},
	"hostname": { // RFC 1123, section 2.1; RFC 952
		good: []string{"example.com", "a", "localhost", "3com.com", "a-b.c-d", "XN--NXASMQ6B", strings.Repeat("a", 63) + ".b", "1.2.3.4a", "a--b"},
		bad: []string{"-a", "a-", "a_b", "a..b", ".a", "a.", ".", "", "a b", "ü.de", "1.2.3.4", "123", "a.1", strings.Repeat("a", 64), strings.Repeat("a.", 126) + "aa",
			"a:80", "a/b", "*.a"},
	},
	"email": { // RFC 5321, section 4.1.2; RFC 3696, section 3
		good: []string{"a@example.com", "Abc.def+mailbox/department=shipping@example.com", "!def!xyz%abc@example.com", "_somename@example.com", `"Abc@def"@example.com`,
			`"Fred Bloggs"@example.com`, `"Joe\\Blow"@example.com`, `"a\"b"@example.com`, `""@example.com`, "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", strings.Repeat("a", 64) + "@b"},
		bad: []string{"@example.com", "a", "a@", "@", ".a@example.com", "a.@example.com", "a..b@example.com", "a b@example.com", `"a@example.com`, `"a"b"@example.com`, `"a\"@example.com`,
			"a@b@example.com", "a@-b", "a@b_c", "a@[+1.2.3.4]", "a@[::1]", "a@[IPv6:x]", "a@[192.0.2.1", "ü@example.com", "a@example.com\n", strings.Repeat("a", 65) + "@b",
			"a@" + strings.Repeat("a.", 126) + "aa", "A <a@example.com>"},
	},
	"uri": { // RFC 3986, sections 1.1.2, 3 and 6
		good: []string{"ftp://ftp.is.co.za/rfc/rfc1808.txt", "http://www.ietf.org/rfc/rfc2396.txt", "ldap://[2001:db8::7]/c=GB?objectClass?one", "mailto:John.Doe@example.com",
			"news:comp.infosystems.www.servers.unix", "tel:+1-816-555-1212", "telnet://192.0.2.16:80/", "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
			"foo://example.com:8042/over/there?name=ferret#nose", "https://example.com/a?b#c", "spiffe://a/b", "file:///etc/keys", "https://u:p@example.com:/", "https://[v1.a:b]/", "a:b", "HTTPS://EXAMPLE.COM/%7Ea"},
		bad: []string{"https://example.com/a b", " https://example.com", "https://example.com ", "https://exa mple.com", "/a", "example.com", "https://", "https:", "https:///a", "http:a", "a:", "%zz", "https://a/%zz", "https://a/%4",
			"1a:b", "://a", "https://[::1", "https://[1.2.3.4]/", "https://[::1]a/", "https://a:8o/", "https://a:-1/", "https://a/<b>", "https://a/\"", "https://a/{b}", "https://a/|", "https://a\\b", "https://a/^", "https://a/`",
			"https://ü.de", "https://a/#b#c", "https://a/[", "https://a\n/", "https://u@v@a/", ""},
	},
	"uri-reference": { // RFC 3986, section 5.4
		good: []string{"g:h", "g", "./g", "g/", "/g", "//g", "?y", "g?y", "#s", "g#s", "g?y#s", ";x", "g;x", "", ".", "./", "..", "../..", "../../g", "./a:b", "/a:b", "https://a/b", "?a:b", "//"},
		bad:  []string{"\\", "a b", "1a:b", "a\\b", "<", "%zz", "%2", "#a#b", "a[", "//[::1", "http:a", "//a:b/", "ü"},
	},
	"uri-template": { // RFC 6570, sections 1.2, 2 and 3.2
		good: []string{"/users/{id}", "http://example.com/~{username}/", "http://example.com/search{?q,lang}", "{+path}/here", "{#x,hello,y}", "X{.var:3}", "{/list*,path:4}", "{;keys*}", "{?x,y,empty}",
			"?fixed=yes{&x}", "{a.b}", "{%41}", "/é", "", "map?{x,y}"},
		bad: []string{"/users/{id", "/users/id}", "{}", "{{a}}", "{a b}", "{=a}", "{,a}", "{!a}", "{@a}", "{|a}", "{a:0}", "{a:10000}", "{a:}", "{a**}", "{a,}", "{.}", "{a..b}", "{.a.}", "/a b", "%zz", "%4", "a\"", "a<", "a\\", "a^", "a`", "a|", "a'", "{a%4}", "\x7f", "a\xff"},
	},
	"uuid": { // RFC 9562, section 4
		good: []string{"f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"},
		bad: []string{"f81d4fae7dec11d0a76500a0c91e6bf6", "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "f81d4fae-7dec-11d0-a765-00a0c91e6bf", "g81d4fae-7dec-11d0-a765-00a0c91e6bf6",
			"f81d4fae-7dec-11d0-a765-00a0c91e6bf6\n", "f81d4fae-7dec-11d0-a76500a0c91e6bf6-", "+81d4fae-7dec-11d0-a765-00a0c91e6bf6", ""},
	},
	"date": { // RFC 3339, section 5.6
		good: []string{"1985-04-12", "2000-02-29", "2024-02-29", "0000-01-01", "9999-12-31"},
		bad:  []string{"1985-4-12", "85-04-12", "1985-04-31", "2023-02-29", "1900-02-29", "1985-13-01", "1985-00-01", "1985-01-00", "+985-04-12", "1985-+4-12", "1985-04-12Z", "1985/04/12", "19850412", "1985-102", "٢985-04-12", ""},
	},
	"time": { // RFC 3339, sections 5.6 and 5.8
		good: []string{"23:20:50.52Z", "16:39:57-08:00", "23:59:60Z", "15:59:60-08:00", "00:00:00z", "12:00:27.87+00:20", "01:29:60+01:30", "08:30:06.283185Z", "23:59:60+00:00"},
		bad: []string{"+1:02:03Z", "01:+2:03Z", "01:02:+3Z", "-1:02:03Z", "24:00:00Z", "23:60:00Z", "23:00:61Z", "22:59:60Z", "23:58:60Z", "23:59:60+01:00", "15:04", "15:04:05", "15:04:05.Z", "15:04:05,1Z", "15:04:05+1:00", "15:04:05+24:00", "15:04:05+00:60",
			"15:04:05++1:00", "15:04:05 Z", "1:04:05Z", "15:04:05Z ", "150405Z", ""},
	},
	"date-time": { // RFC 3339, section 5.8
		good: []string{"1985-04-12T23:20:50.52Z", "1996-12-19T16:39:57-08:00", "1990-12-31T23:59:60Z", "1990-12-31T15:59:60-08:00", "1937-01-01T12:00:27.87+00:20", "1985-04-12t23:20:50z"},
		bad:  []string{"1985-04-12 23:20:50Z", "1985-04-12", "23:20:50Z", "1985-04-12T23:20:50", "1985-04-31T23:20:50Z", "1985-04-12T24:00:00Z", "1985-04-12T+1:02:03Z", "1985-04-12T", "T23:20:50Z", "1985-04-12_23:20:50Z", ""},
	},
	"json-pointer": { // RFC 6901, section 5
		good: []string{"", "/foo", "/foo/0", "/", "/a~1b", "/c%d", "/e^f", "/g|h", "/i\\j", "/k\"l", "/ ", "/m~0n", "/ü", "//"},
		bad:  []string{"a", "foo/0", "#/a", "/~", "/~2", "/a~", "/~/0", " /a"},
	},
	"duration": { // time.ParseDuration
		good: []string{"200ms", "1h30m", "0", "0s", "1.5s", ".5s", "-1s", "+1s", "1us", "1µs"},
		bad:  []string{"PT1S", "1", "soon", "1d", "", "1 s", "s", "1s1", "9999999999h", "1.2.3s"},
	},
	"regex": { // RE2
		good: []string{"", "^a+$", ".", "(?i)a", "[[:alpha:]]", `\pL`, "a{1,1000}"},
		bad:  []string{"(", ")", "[", "a**", "a(?=b)", "(?<!a)b", `\1`, "a{1001}", "(?P<a>", `\`},
	},
	"header-name": { // RFC 9110, sections 5.1 and 5.6.2
		good: []string{"X-Request-Id", "authorization", "a!#$%&'*+-.^_`|~1"},
		bad:  []string{"", ":path", "a:b", "a b", "ü", "a\n", "a,b", "a/b", "a(b)", "a\x00"},
	},
}

func TestFormats(t *testing.T) {
	for _, f := range format.All() {
		t.Run(f.Name, func(t *testing.T) {
			v, ok := values[f.Name]
			if !ok || len(v.good) == 0 || len(v.bad) == 0 || f.Remedy == "" || f.Spec == "" {
				t.Fatal("no values, no remedy or no specification")
			}
			for _, s := range v.good {
				if !f.Valid(s) {
					t.Errorf("%q is refused", s)
				}
			}
			for _, s := range v.bad {
				if f.Valid(s) {
					t.Errorf("%q is accepted", s)
				}
			}
		})
	}
}

// FuzzFormats holds the formats to what Go's own parsers read: what a format accepts,
// the code behind it can use.
func FuzzFormats(f *testing.F) {
	for _, v := range values {
		for _, s := range append(v.good, v.bad...) {
			f.Add(s)
		}
	}
	readers := map[string]func(string) error{
		"uri":           func(s string) error { _, err := url.Parse(s); return err },
		"uri-reference": func(s string) error { _, err := url.Parse(s); return err },
		"date":          func(s string) error { _, err := time.Parse(time.DateOnly, s); return err },
		"duration":      func(s string) error { _, err := time.ParseDuration(s); return err },
	}
	all := format.All()
	f.Fuzz(func(t *testing.T, s string) {
		for _, one := range all {
			read := readers[one.Name]
			if !one.Valid(s) || read == nil || strings.Contains(strings.ToLower(s), "[v") {
				continue
			}
			if err := read(s); err != nil {
				t.Errorf("%s accepts %q: %v", one.Name, s, err)
			}
		}
	})
}
