package protogen_test

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"policyengine.dev/tools/protogen"
	"policyengine.dev/tools/runfiles"
)

var update = flag.Bool("update", false, "write the Go code of the .proto files")

const root = "../../proto"

// TestGeneratedCodeIsCurrent proves that the Go code in proto/ is what its .proto files
// generate, and that no generated file is left whose .proto file is gone.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	files, err := protogen.Compile(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	want, err := protogen.Generate(t.Context(), files, grpcPlugin(t))
	if err != nil {
		t.Fatal(err)
	}
	const remedy = "run go test ./tools/protogen -update"
	for name, content := range want {
		path := filepath.Join(root, filepath.FromSlash(name))
		if *update {
			if err := os.WriteFile(path, content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s is out of date (%v): %s", name, err, remedy)
		}
	}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		if _, known := want[filepath.ToSlash(name)]; err != nil || known || !strings.HasSuffix(path, ".pb.go") {
			return err
		}
		if *update {
			return os.Remove(path)
		}
		t.Errorf("%s has no .proto file: %s", name, remedy)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// grpcPlugin is protoc-gen-go-grpc as Bazel has built it, or as the go command does.
func grpcPlugin(t *testing.T) []string {
	t.Helper()
	location := os.Getenv("PROTOC_GEN_GO_GRPC")
	if location == "" {
		return []string{"go", "tool", "protoc-gen-go-grpc"}
	}
	path, err := runfiles.Path(location)
	if err != nil {
		t.Fatal(err)
	}
	return []string{path}
}
