package strictyaml_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"policyengine.dev/sdk/strictyaml"
)

type config struct {
	Name    string          `yaml:"name,required"`
	Chains  []chain         `yaml:"chains"`
	Timeout time.Duration   `yaml:"timeout"`
	Limits  map[string]int8 `yaml:"limits"`
	Mode    mode            `yaml:"mode"`
	Extra   any             `yaml:"extra"`
	Raw     json.RawMessage `yaml:"raw"`
	TLS     *tlsFiles       `yaml:"tls"`
	Ratio   float64         `json:"ratio"`
	Size    uint16          `yaml:"size"`
	Enabled bool            `yaml:"enabled"`
	Listen  address         `yaml:"listen"`
	common
}

type common struct {
	Comment string `yaml:"comment"`
}

type chain struct {
	Name     string          `yaml:"name,required"`
	Params   strictyaml.Node `yaml:"params"`
	Policies []string        `yaml:"policies"`
}

type tlsFiles struct {
	Cert string `yaml:"cert,required"`
	Key  string `yaml:"key,required"`
}

type mode string

func (m *mode) UnmarshalText(text []byte) error {
	if s := string(text); s != "enforce" && s != "shadow" {
		return errors.New("not a mode; enforce or shadow")
	}
	*m = mode(text)
	return nil
}

// address may be written as a string or as a mapping.
type address struct{ Host, Port string }

func (a *address) UnmarshalNode(n strictyaml.Node) error {
	if n.Kind() == strictyaml.String {
		var ok bool
		if a.Host, a.Port, ok = strings.Cut(n.Text(), ":"); !ok {
			return errors.New("no port")
		}
		return nil
	}
	var mapping struct {
		Host string `yaml:"host,required"`
		Port string `yaml:"port,required"`
	}
	err := n.Decode(&mapping)
	a.Host, a.Port = mapping.Host, mapping.Port
	return err
}

func decode(src string) (config, error) {
	var c config
	root, err := strictyaml.Parse("engine.yaml", []byte(src))
	if err != nil {
		return c, err
	}
	return c, root.Decode(&c)
}

func TestDecodeGood(t *testing.T) {
	got, err := decode(`
name: &n payments
comment: "1.0"
timeout: 1m30s
limits: {a: -128, b: 127}
mode: shadow
extra: {list: [1, 2.50, true, null, 2024-01-01, *n]}
raw: {b: 1.50, a: [~, "<&\u2028\n"]}
tls: {cert: c, key: k}
ratio: 1e2
size: 65535
enabled: true
listen: localhost:9001
chains:
- name: first
  policies: []
`)
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		Name: "payments", common: common{"1.0"}, Timeout: 90 * time.Second, Limits: map[string]int8{"a": -128, "b": 127}, Mode: "shadow",
		Extra: map[string]any{"list": []any{json.Number("1"), json.Number("2.50"), true, nil, "2024-01-01", "payments"}},
		Raw:   json.RawMessage(`{"b":1.50,"a":[null,"<&\u2028\n"]}`),
		TLS:   &tlsFiles{"c", "k"}, Ratio: 100, Size: 65535, Enabled: true, Listen: address{"localhost", "9001"},
		Chains: []chain{{Name: "first", Policies: []string{}}},
	}
	options := cmp.Options{cmp.AllowUnexported(config{}), cmp.Comparer(func(a, b strictyaml.Node) bool { return a.Kind() == b.Kind() })}
	if diff := cmp.Diff(want, got, options); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestDiagnostics holds the text of every kind of problem, and that all of a
// file's problems are reported, in the order of their positions.
func TestDiagnostics(t *testing.T) {
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	tests := map[string]struct{ src, want string }{
		"all problems at once, sorted": {`
chains:
- name: 1.0
  polices: []
- policies: {}
timeout: 200
mod: shadow
`, `
engine.yaml:2:1: name: missing; this field is required
engine.yaml:3:9: chains[0].name: expected a string, found a number; put it in quotes
engine.yaml:4:3: chains[0].polices: unknown field; did you mean "policies"?
engine.yaml:5:3: chains[1].name: missing; this field is required
engine.yaml:5:13: chains[1].policies: expected a list, found a mapping
engine.yaml:6:10: timeout: expected a string, found a number; write a number with a unit, such as 200ms or 1m30s
engine.yaml:7:1: mod: unknown field; did you mean "mode"?`},
		"unknown field like no other lists those there are": {"name: a\ntls: {cert: a, key: b, authorities: c}", `
engine.yaml:2:24: tls.authorities: unknown field; known are cert and key`},
		"unknown key that needs quotes":     {`{name: a, limits: {"x.y": z}}`, `engine.yaml:1:27: limits["x.y"]: expected a number, found a string`},
		"duplicate key":                     {"name: a\nname: b", `engine.yaml:2:1: name: given twice, first in line 1; keep one of the two`},
		"duplicate key in a free-form part": {"name: a\nextra:\n- {b: 1, b: 2}", `engine.yaml:3:10: extra[0].b: given twice, first in line 3; keep one of the two`},
		"empty value":                       {"name:\n", `engine.yaml:1:6: name: has no value; give it one, or leave the field out`},
		"text that its type refuses":        {"name: a\nmode: sahdow", `engine.yaml:2:7: mode: not a mode; enforce or shadow`},
		"node that its type refuses":        {"name: a\nlisten: x", `engine.yaml:2:9: listen: no port`},
		"node with several problems":        {"name: a\nlisten: {}", "engine.yaml:2:9: listen.host: missing; this field is required\nengine.yaml:2:9: listen.port: missing; this field is required"},
		"bad duration":                      {"name: a\ntimeout: soon", `engine.yaml:2:10: timeout: not a duration; write a number with a unit, such as 200ms or 1m30s`},
		"number out of range":               {"name: a\nlimits: {a: 128}", `engine.yaml:2:13: limits.a: not a whole number in range; from -128 to 127`},
		"fraction for a whole number":       {"name: a\nsize: 1.5", `engine.yaml:2:7: size: not a whole number in range; from 0 to 65535`},
		"negative for an unsigned number":   {"name: a\nsize: -1", `engine.yaml:2:7: size: not a whole number in range; from 0 to 65535`},
		"boolean of YAML 1.1":               {"name: a\nenabled: yes", `engine.yaml:2:10: enabled: expected a boolean, found a string; write true or false`},
		"wrong root":                        {"[]", `engine.yaml:1:1: expected a mapping, found a list`},
		"syntax error":                      {"name: a\n  b: c", `engine.yaml:2:3: mapping values are not allowed in this context; write valid YAML`},
		"unknown anchor":                    {"name: *a", `engine.yaml:1:1: unknown anchor 'a' referenced; write valid YAML`},
		"empty file":                        {"", `engine.yaml:1:1: the file is empty; it must hold one YAML document`},
		"only comments":                     {"# nothing\n", `engine.yaml:1:1: the file is empty; it must hold one YAML document`},
		"two documents":                     {"name: a\n---\nname: b", `engine.yaml:2:1: a second YAML document begins here; keep one document in a file`},
		"tab as indentation":                {"a:\n\t- b", `engine.yaml:2:1: a tab in the indentation; indent with spaces`},
		"tab behind spaces":                 {"a: b\n  \tc: d", `engine.yaml:2:3: a tab in the indentation; indent with spaces`},
		"tab in a list's mapping":           {"a:\n- b: c\n\t d: e", `engine.yaml:3:1: a tab in the indentation; indent with spaces`},
		"syntax error after the document":   {"name: a\n---\n[", `engine.yaml:3:1: did not find expected node content; write valid YAML`},
		"merge key":                         {"name: a\nextra: &x {}\ntls: {<<: *x}", `engine.yaml:3:7: tls["<<"]: merge keys are not supported; write the fields out`},
		"key that is a number":              {"name: a\nextra: {1: x}", `engine.yaml:2:9: extra.1: a key is not a string; put it in quotes`},
		"key that is a mapping":             {"name: a\nextra: {{a: b}: x}", `engine.yaml:2:9: extra: a key is not a string; write it out as one`},
		"unknown tags":                      {"name: a\nextra: [!!binary aaaa, !x y, !!set {a}, !!timestamp 2024-01-01]", "engine.yaml:2:9: extra[0]: the tag !!binary is not known here; leave it out\nengine.yaml:2:24: extra[1]: the tag !x is not known here; leave it out\nengine.yaml:2:30: extra[2]: the tag !!set is not known here; leave it out\nengine.yaml:2:41: extra[3]: the tag !!timestamp is not known here; leave it out"},
		"numbers that are no JSON":          {"name: a\nextra: [0x1f, 010, .nan, 1_000, +1, 1e-4000]", "engine.yaml:2:9: extra[0]: a number that JSON cannot write; put it in quotes if it is text, such as a hash; otherwise write it in decimal, such as 10 or 0.5\nengine.yaml:2:15: extra[1]: a number that JSON cannot write; put it in quotes if it is text, such as a hash; otherwise write it in decimal, such as 10 or 0.5\nengine.yaml:2:20: extra[2]: a number that JSON cannot write; put it in quotes if it is text, such as a hash; otherwise write it in decimal, such as 10 or 0.5\nengine.yaml:2:26: extra[3]: a number that JSON cannot write; put it in quotes if it is text, such as a hash; otherwise write it in decimal, such as 10 or 0.5\nengine.yaml:2:33: extra[4]: a number that JSON cannot write; put it in quotes if it is text, such as a hash; otherwise write it in decimal, such as 10 or 0.5\nengine.yaml:2:37: extra[5]: a number that JSON cannot write; put it in quotes if it is text, such as a hash; otherwise write it in decimal, such as 10 or 0.5"},
		"alias to itself":                   {"name: a\nextra: &x [*x]", `engine.yaml:2:12: extra[0]: an alias stands inside the value that it repeats; write the value out`},
		"too deep":                          {"name: a\nextra: " + deep, `engine.yaml:2:71: extra` + strings.Repeat("[0]", 63) + `: nested too deeply; at most 64 levels are read`},
		"too deep for the parser":           {strings.Repeat("[", 2000), `engine.yaml:1:1065: brackets are nested too deeply; at most 64 levels are read`},
		"too deep by aliases":               {"name: a\nextra: [&a [[" + strings.Repeat("[", 32) + strings.Repeat("]", 32) + "]], [[" + strings.Repeat("[", 32) + "*a" + strings.Repeat("]", 32) + "]]]", `engine.yaml:2:116: extra[1]` + strings.Repeat("[0]", 34) + `: nested too deeply; at most 64 levels are read`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := decode(test.src)
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), fmt.Sprint(err)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestMessagesKeepSecrets: whatever stands where it should not may be a
// password that somebody forgot to quote.
func TestMessagesKeepSecrets(t *testing.T) {
	for _, src := range []string{"name: 4711", "name: [4711]", "timeout: hunter4711", "size: 99994711", "limits: {a: 4711}", "enabled: x4711", "mode: x4711", "extra: 0x4711", "extra: [*x, 4711]\n a: b", "listen: x4711"} {
		if _, err := decode(src); err == nil || strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: %v", src, err)
		}
	}
}

// TestBombs: a small file that stands for a huge one is refused at once.
func TestBombs(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	long := "a: &a " + strings.Repeat("x", 100_000) + "\nb: [" + strings.Repeat("*a, ", 1000) + "]"
	tests := map[string]struct{ src, want string }{
		"aliases of aliases":  {bomb.String(), "the file holds too much"},
		"a long text, often":  {long, "the file holds too much"},
		"many values":         {"[" + strings.Repeat("x,", 300_000) + "]", "the file holds too much"},
		"many bytes":          {strings.Repeat("#", 2<<20), "the file has 2097152 bytes; at most 1048576 are read"},
		"block lists, nested": {strings.Repeat("- ", 5000) + "x", "nested too deeply"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := strictyaml.Parse("f", []byte(test.src)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %.300s", fmt.Sprint(err))
			}
		})
	}
}

func TestLimitsAreSettable(t *testing.T) {
	limits := strictyaml.Limits{Bytes: 10, Depth: 2, Nodes: 3}
	for src, want := range map[string]string{
		"[1, 2]":      "<nil>",
		"[[1]]":       "f:1:3: [0][0]: nested too deeply; at most 2 levels are read",
		"[1, 2, 3]":   "f:1:1: the file holds too much, counting aliases as what they stand for; at most 3 values with 40 bytes are read",
		"[1, 2, 3, ]": "f:1:1: the file has 11 bytes; at most 10 are read",
	} {
		if _, err := strictyaml.ParseWithin(limits, "f", []byte(src)); fmt.Sprint(err) != want {
			t.Errorf("%s\n got %v\nwant %s", src, err, want)
		}
	}
}

// TestPositions: a semantic check can point at the place it is about, also
// where the file does not have it, by path or by JSON pointer.
func TestPositions(t *testing.T) {
	root, err := strictyaml.Parse("f", []byte(`chains:
- name: a
  policies:
  - {name: set-header, version: &v v1.0.0, params: {"a/b": {"~": [1]}}}
  - {name: other, version: *v}
`))
	if err != nil {
		t.Fatal(err)
	}
	params := root.At("chains", 0, "policies", 0, "params")
	for want, node := range map[string]strictyaml.Node{
		"f:1:1: !": root,
		"f:4:33: chains[0].policies[0].version: !":                 root.At("chains", 0, "policies", 0, "version"),
		"f:5:28: chains[0].policies[1].version: !":                 root.At("chains", 0).At("policies", 1, "version"),
		"f:5:5: chains[0].policies[1].params.x[3]: !":              root.At("chains", 0, "policies", 1, "params", "x", 3),
		"f:4:3: chains[0].policies[9]: !":                          root.At("chains", 0, "policies", 9),
		`f:4:67: chains[0].policies[0].params["a/b"]["~"][0]: !`:   params.Pointer("/a~1b/~0/0"),
		`f:4:52: chains[0].policies[0].params: !`:                  params.Pointer(""),
		`f:4:66: chains[0].policies[0].params["a/b"]["~"].name: !`: params.Pointer("/a~1b/~0/name"),
		`f:4:5: chains[0].policies[0].name: !`:                     root.Pointer("/chains/0/policies/0/name"),
	} {
		d := node.Problem("!", "")
		if strings.HasSuffix(want, "policies[0].name: !") {
			d = node.KeyProblem("!", "")
			want = strings.Replace(want, "f:4:5", "f:4:6", 1)
		}
		if d.Error() != want {
			t.Errorf("got %s, want %s", d, want)
		}
	}
	for _, node := range []strictyaml.Node{root, params.Pointer("/a~1b/~0/0"), root.At("chains", 0, "policies", 1, "params", "x", 3)} {
		if got := root.AtPath(node.Path()).Problem("!", ""); got != node.Problem("!", "") {
			t.Errorf("by its path %s: got %s", node.Path(), got)
		}
	}
	if got := root.AtPath(strictyaml.PathJoin("chains[0]", strictyaml.PathJoin(`policies[0].params["a/b"]`, `["~"][0]`))); got.Text() != "1" {
		t.Errorf("by joined paths: %s", got.Path())
	}
	for path, want := range map[string]string{"chains[x]": "chains", "chains[": "chains", "[": "", ".": "", `chains["`: "chains", "chains[0]name": "chains[0].name"} {
		if got := root.AtPath(path).Path(); got != want {
			t.Errorf("%s leads to %q, want %q", path, got, want)
		}
	}
	if kind := root.At("chains", 1).Kind(); kind != strictyaml.Missing {
		t.Errorf("a place that is not there is %s", kind)
	}
	if got := string(params.JSON()); got != `{"a/b":{"~":[1]}}` {
		t.Errorf("JSON of params: %s", got)
	}
	if line, column := (strictyaml.Node{}).At("x", 1).Position(); line != 0 || column != 0 || (strictyaml.Node{}).JSON() != nil {
		t.Error("the zero node has a position or JSON")
	}
	if err := root.At("nothing").Decode(new(string)); fmt.Sprint(err) != "f:1:1: nothing: missing" {
		t.Errorf("decoding a missing node: %v", err)
	}
}

// TestWhatIsGoodIsDecoded: semantic checks can go on after a decoding error.
func TestWhatIsGoodIsDecoded(t *testing.T) {
	got, err := decode("name: payments\nsize: x\nchains: [{name: a, x: 1}, {name: b}]")
	if err == nil || got.Name != "payments" || len(got.Chains) != 2 || got.Chains[1].Name != "b" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDefaultsStay(t *testing.T) {
	root, err := strictyaml.Parse("f", []byte("cert: x"))
	if err != nil {
		t.Fatal(err)
	}
	got := struct {
		Cert string `yaml:"cert"`
		Key  string `yaml:"key"`
	}{"a", "b"}
	if err := root.Decode(&got); err != nil || got.Cert != "x" || got.Key != "b" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDiagnosticsAsError(t *testing.T) {
	var ds strictyaml.Diagnostics
	if ds.Err() != nil {
		t.Error("an empty list is an error")
	}
	ds.AddError(strictyaml.Node{}, nil)
	ds.AddError(strictyaml.Node{}, errors.New("plain"))
	ds.AddError(strictyaml.Node{}, fmt.Errorf("wrapped: %w", strictyaml.Diagnostic{File: "a", Problem: "b"}))
	ds.AddError(strictyaml.Node{}, strictyaml.Diagnostics{{File: "a", Line: 2, Problem: "c", Remedy: "d"}, {File: "a", Line: 2, Problem: "c", Remedy: "d"}})
	if got, want := ds.Err().Error(), "plain\na: b\na:2: c; d"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for i := range 300 {
		ds.Add(strictyaml.Diagnostic{Line: i, Problem: "x"})
	}
	if text := ds.Err().Error(); strings.Count(text, "\n") != 100 || !strings.HasSuffix(text, "\nand 203 more problems") {
		t.Errorf("a long list is not capped: %s", text)
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"nme":                      `did you mean "name"?`,
		"NAME":                     `did you mean "name"?`,
		"x":                        "known are name and version",
		"verison":                  `did you mean "version"?`,
		strings.Repeat("a", 1<<20): "known are name and version",
	} {
		if got := strictyaml.Nearest(name, []string{"version", "name"}); got != want {
			t.Errorf("%.20s: got %s, want %s", name, got, want)
		}
	}
}

func TestNearestListsNoMoreThanSomebodyReads(t *testing.T) {
	var known []string
	for i := range 10_000 {
		known = append(known, fmt.Sprintf("chain-%05d", i))
	}
	got := strictyaml.Nearest("x", known)
	if !strings.HasPrefix(got, "known are chain-00000, chain-00001, ") || !strings.HasSuffix(got, "chain-00039 and 9960 more") {
		t.Errorf("got %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name: a\nchains: [{name: b, params: {x: [1, 2.0, yes, ~]}}]\n"))
	f.Add([]byte("a: &a [1]\nb: *a\n<<: *a"))
	f.Add([]byte("? {a: b}\n: - c\n"))
	f.Add([]byte("a: |\n  x\n\ty\n---\n"))
	f.Add([]byte("!!int 5"))
	f.Fuzz(func(t *testing.T, src []byte) {
		root, err := strictyaml.ParseWithin(strictyaml.Limits{Bytes: 4096}, "f", src)
		if err != nil {
			var found strictyaml.Diagnostics
			if !errors.As(err, &found) || len(found) == 0 {
				t.Fatalf("an error without diagnostics: %v", err)
			}
			for _, d := range found {
				if d.Line < 1 || d.Column < 1 || d.Problem == "" {
					t.Fatalf("no position or problem: %#v", d)
				}
			}
			return
		}
		if data := root.JSON(); !json.Valid(data) {
			t.Fatalf("not JSON: %s", data)
		}
		var c config
		_ = root.Decode(&c)
		var anything any
		if err := root.Decode(&anything); err != nil {
			t.Fatalf("decoding into any: %v", err)
		}
		decoded, err := json.Marshal(anything)
		if err != nil {
			t.Fatal(err)
		}
		var direct, through any
		if json.Unmarshal(root.JSON(), &direct) != nil || json.Unmarshal(decoded, &through) != nil || !cmp.Equal(direct, through) {
			t.Fatalf("JSON and Decode disagree: %s and %s", root.JSON(), decoded)
		}
	})
}
