package envoyyaml_test

import (
	"strings"
	"testing"

	"policyengine.dev/tools/pectl/envoyconfig/envoyyaml"
)

var limits = envoyyaml.Limits{Bytes: 1 << 16, Depth: 20, Nodes: 1000}

// TestPlaces proves that values know where they are written, an alias where it stands.
func TestPlaces(t *testing.T) {
	docs, err := envoyyaml.NewReader(limits).File("a.yaml", []byte("a: &x\n- b: yes\nc: *x\n---\nd: 0x10\n"))
	if err != nil || len(docs) != 2 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	for _, tt := range []struct {
		v            *envoyyaml.Value
		line, column int
		path         string
	}{
		{docs[0].Get("a").Items[0].Get("b"), 2, 6, "a[0].b"},
		{docs[0].Get("c"), 3, 4, "c"},
		{docs[0].Get("c").Items[0].Get("b"), 2, 6, "c[0].b"},
		{docs[1].Get("d"), 5, 4, "d"},
	} {
		if tt.v.Line != tt.line || tt.v.Column != tt.column || tt.v.Path.String() != tt.path || tt.v.File != "a.yaml" {
			t.Errorf("%s:%d:%d %s, want %d:%d %s", tt.v.File, tt.v.Line, tt.v.Column, tt.v.Path, tt.line, tt.column, tt.path)
		}
	}
	if b := docs[0].Get("a").Items[0].Get("b"); b.Kind != envoyyaml.Bool || !b.Bool {
		t.Errorf("yes is %s", b.Kind)
	}
	if d := docs[1].Get("d"); d.Kind != envoyyaml.Number || d.Text != "16" {
		t.Errorf("0x10 is %s %s", d.Kind, d.Text)
	}
}

// TestRefused proves that what is costly or no YAML gives an error with its place.
func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct{ src, want string }{
		"no YAML":              {"a: [", "a.yaml:1:"},
		"nothing":              {"# nothing\n", "a.yaml:1:1: the file is empty"},
		"a key that is a list": {"a: 1\n[b]: 2\n", "a.yaml:2:"},
		"too long":             {strings.Repeat("#", 1<<16+1), "at most 65536 are read"},
		"too deep":             {strings.Repeat("- ", 30) + "x", "nested too deeply"},
		"too many brackets":    {strings.Repeat("[", 2000), "brackets are nested too deeply"},
		"too many values":      {"[" + strings.Repeat("1,", 1001) + "]", "at most 1000 values"},
		"aliases of aliases":   {"a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n", "at most 1000 values"},
		"an alias in itself":   {"a: &a [*a]\n", "nested too deeply"},
	} {
		if _, err := envoyyaml.NewReader(limits).File("a.yaml", []byte(tt.src)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// FuzzParse proves that no file makes a reader fail in any way but an error.
func FuzzParse(f *testing.F) {
	f.Add("a.yaml", []byte("a: &x [yes, 0x10, ~, 'b', |\n  c\n]\n---\n? b\n: *x\n"))
	f.Add("a.json", []byte(`{"a": [1, True, null, "\u0041"]}`))
	f.Add("-", []byte(`{"a": {}}`))
	f.Fuzz(func(t *testing.T, name string, src []byte) {
		docs, err := envoyyaml.NewReader(limits).File(name, src)
		if (len(docs) == 0) == (err == nil) {
			t.Errorf("%d documents, %v", len(docs), err)
		}
	})
}
