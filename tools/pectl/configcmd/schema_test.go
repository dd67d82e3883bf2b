package configcmd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"policyengine.dev/envoy_test/engines"
	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/configcmd"
)

// schema is the schema that the command prints for the engine of all reference policies.
func schema(t *testing.T, engine string) *jsonschema.Schema {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := commandline.Main(t.Context(), configcmd.Command(), []string{"schema", "--engine", engine}, commandline.IO{Out: &stdout, Err: &stderr})
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	document, err := jsonschema.UnmarshalJSON(&stdout)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("chains.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("chains.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var block = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// written are the chains that the examples and the READMEs of policies show, and those of
// the cases behind Envoy, each by its file.
func written(t *testing.T) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, pattern := range []string{"examples/chains/*.yaml", "examples/envoy-gateway/chains.yaml", "envoy_test/cases/testdata/*.yaml", "policies/*/*/README.md"} {
		names, err := filepath.Glob(filepath.Join("../../..", pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s names no file: %v", pattern, err)
		}
		for _, name := range names {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts := [][]byte{src}
			if strings.HasSuffix(name, ".md") {
				texts = nil
				for _, m := range block.FindAllSubmatch(src, -1) {
					texts = append(texts, m[1])
				}
			}
			for i, text := range texts {
				if file := chainsOf(text); file != nil {
					all[strings.TrimPrefix(name, "../../../")+strings.Repeat("+", i)] = file
				}
			}
		}
	}
	return all
}

// chainsOf are the chains and routes in a text: a file of them, a suite of cases that has
// them, or a list of steps. They are nil if there are none.
func chainsOf(text []byte) map[string]any {
	var content any
	if yaml.Unmarshal(text, &content) != nil {
		return nil
	}
	steps, _ := content.([]any)
	if fields, ok := content.(map[string]any); ok {
		switch chains := fields["chains"].(type) {
		case map[string]any:
			return chains
		case []any:
			return fields
		}
		steps, _ = fields["policies"].([]any)
		if fields["name"] != nil && fields["version"] != nil {
			steps = []any{fields}
		}
	}
	if len(steps) == 0 {
		return nil
	}
	return map[string]any{"chains": []any{map[string]any{"name": "c", "policies": steps}}, "routes": []any{}}
}

// TestSchemaAcceptsWhatTheEngineAccepts proves that the schema has nothing against what is
// written in this repository and what the engine accepts, and something against a parameter
// that does not exist.
func TestSchemaAcceptsWhatTheEngineAccepts(t *testing.T) {
	engine := engines.Binary(t, engines.Cases)
	s := schema(t, engine)
	accepted, refused := 0, 0
	for name, file := range written(t) {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(file)
			if err != nil {
				t.Fatal(err)
			}
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if verdict := s.Validate(value); verdict != nil {
				if refused++; accepts(t, engine, text) {
					t.Fatalf("the engine accepts %s, and the schema does not: %v", text, verdict)
				}
				return
			}
			accepted++
			steps, _ := value.(map[string]any)["chains"].([]any)[0].(map[string]any)["policies"].([]any)
			if len(steps) == 0 {
				return
			}
			step := steps[0].(map[string]any)
			params, _ := step["params"].(map[string]any)
			if params == nil {
				params = map[string]any{}
			}
			params["thereIsNoSuchParameter"] = true
			step["params"] = params
			changed, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if s.Validate(value) == nil && !accepts(t, engine, changed) {
				t.Errorf("an unknown parameter of %v passes", step["name"])
			}
		})
	}
	t.Logf("%d files are accepted, %d refused", accepted, refused)
	if accepted < 40 {
		t.Errorf("the schema accepts only %d files", accepted)
	}
}

// accepts reports whether the engine accepts a file.
func accepts(t *testing.T, engine string, text []byte) bool {
	t.Helper()
	dir := files(t, map[string]string{"chains.yaml": string(text)})
	var stdout, stderr bytes.Buffer
	commandline.Main(t.Context(), configcmd.Command(), []string{"check", filepath.Join(dir, "chains.yaml"), "--format=json", "--engine", engine}, commandline.IO{Out: &stdout, Err: &stderr})
	var report admin.CheckReport
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return report.Valid
}
