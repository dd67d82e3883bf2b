package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParseURIs(t *testing.T) {
	const out = `'http://m.example/debian/pool/main/s/skopeo/skopeo_1.18.0%2bds1-1_amd64.deb' skopeo_1.18.0+ds1-1_amd64.deb 9 MD5Sum:0
'http://other.example/pool/x_1_amd64.deb' x_1_amd64.deb 9 MD5Sum:0
Reading package lists...
`
	want := map[string]string{"skopeo": "pool/main/s/skopeo/skopeo_1.18.0%2bds1-1_amd64.deb"}
	if got := parseURIs(out, "http://m.example/debian/"); !maps.Equal(got, want) {
		t.Errorf("parseURIs = %v, want %v", got, want)
	}
}

func TestClosure(t *testing.T) {
	available := map[string]*unpacked{
		"redis-server": {},
		"redis-tools":  {needed: []string{"libc.so.6", "libssl.so.3"}},
		"libssl3":      {provides: []string{"libssl.so.3"}, needed: []string{"libc.so.6", "libzstd.so.1"}},
		"libzstd1":     {provides: []string{"libzstd.so.1"}},
		"libc6":        {provides: []string{"libc.so.6"}},
		"adduser":      {},
		"broken":       {needed: []string{"libmissing.so.1"}},
	}
	got, err := closure([]string{"redis-server", "redis-tools"}, available)
	want := []string{"libc6", "libssl3", "libzstd1", "redis-server", "redis-tools"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("closure = %v, %v; want %v", got, err, want)
	}
	for name, want := range map[string]string{"broken": "libmissing.so.1", "absent": "no package absent"} {
		if _, err := closure([]string{name}, available); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", name, err, want)
		}
	}
}

func FuzzParseURIs(f *testing.F) {
	f.Add("'http://m/pool/a_1_amd64.deb' a_1_amd64.deb 1 MD5Sum:0\n")
	f.Fuzz(func(t *testing.T, out string) {
		for name := range parseURIs(out, "http://m") {
			if strings.ContainsAny(name, "_ \n") {
				t.Errorf("a package named %q", name)
			}
		}
	})
}
