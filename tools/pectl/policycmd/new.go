package policycmd

import (
	"embed"
	"errors"
	"fmt"
	"go/format"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
)

//go:embed templates
var templates embed.FS

// scaffold maps a new policy's files to the templates that they come from. %s is the
// package.
var scaffold = map[string]string{
	"policy.yaml":         "policy.yaml.tmpl",
	"%s.go":               "policy.go.tmpl",
	"%s_test.go":          "policy_test.go.tmpl",
	"testdata/cases.yaml": "cases.yaml.tmpl",
	"README.md":           "README.md.tmpl",
}

const newLong = `
Creates a policy version in the directory NAME/VERSION below the directory of policies:

    policy.yaml            its name, phases, parameters and examples
    NAME.go                the code, in a package named NAME without its hyphens
    NAME_test.go           its tests
    testdata/cases.yaml    requests, and the expected result of each
    README.md              its documentation

The new policy builds, its tests pass, and it does something simple for you to replace.
The command also updates the list of policy versions that the conformance suite runs
over. It never overwrites a file of an existing policy version.

With --from, the new version is a copy of another version of the policy.`

func newCommand() *cobra.Command {
	var version, dir, from string
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Create a policy, or a new version of one",
		Long:  newLong[1:],
		Args:  commandline.Args("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := plan(args[0], version, dir)
			if err != nil {
				return err
			}
			var files map[string]string
			if from == "" {
				files, err = p.render()
			} else {
				files, err = p.copyOf(from)
			}
			if err != nil {
				return err
			}
			if err := p.create(files); err != nil {
				return err
			}
			if _, err := writeIndex(p.module, p.policies); err != nil {
				return err
			}
			p.report(c.OutOrStdout())
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().StringVar(&version, "version", "v1.0.0", "full `version` of the policy")
	c.Flags().StringVar(&dir, "dir", "", "`directory` of the policies (default policies, beside go.mod)")
	c.Flags().StringVar(&from, "from", "", "`version` of the policy to copy")
	_ = c.MarkFlagDirname("dir")
	return c
}

// newPolicy is a policy version that is to be.
type newPolicy struct {
	module   module
	policies string // the directory of all policies

	// What the templates use.
	Name, Version, Package, Type, Import string
}

func plan(name, version, dir string) (*newPolicy, error) {
	p := &newPolicy{Name: name, Version: version}
	if err := p.derive(); err != nil {
		return nil, err
	}
	var err error
	if p.module, p.policies, err = locate(dir); err != nil {
		return nil, err
	}
	if p.Import, err = p.module.importPath(p.dir()); err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.dir()); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s already exists: choose another --version, or remove it", p.dir())
		}
		return nil, err
	}
	return p, nil
}

func (p *newPolicy) dir() string { return filepath.Join(p.policies, p.Name, p.Version) }

// render makes the scaffold's files.
func (p *newPolicy) render() (map[string]string, error) {
	files := make(map[string]string, len(scaffold))
	for file, source := range scaffold {
		t, err := template.ParseFS(templates, path.Join("templates", source))
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		if err := t.Execute(&b, p); err != nil {
			return nil, err
		}
		text := b.String()
		if strings.HasSuffix(file, ".go") {
			// Where an import stands depends on its path.
			formatted, err := format.Source([]byte(text))
			if err != nil {
				return nil, fmt.Errorf("formatting %s: %w", file, err)
			}
			text = string(formatted)
		}
		files[strings.ReplaceAll(file, "%s", p.Package)] = text
	}
	return files, nil
}

// copyOf reads the files of another version and makes them this one's.
func (p *newPolicy) copyOf(from string) (map[string]string, error) {
	source := filepath.Join(p.policies, p.Name, from)
	if _, err := os.Stat(filepath.Join(source, definitionFile)); err != nil {
		return nil, fmt.Errorf("finding version %s of %s: %w%s", from, p.Name, err, p.others())
	}
	old, err := p.module.importPath(source)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	err = filepath.WalkDir(source, func(name string, d fs.DirEntry, err error) error {
		// BUILD files are written again by gazelle.
		if err != nil || d.IsDir() || d.Name() == "BUILD.bazel" {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, name)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(b), old, p.Import)
		switch filepath.Ext(name) {
		case ".go", ".md":
			text = strings.ReplaceAll(text, p.Name+" "+from, p.Name+" "+p.Version)
			text = strings.ReplaceAll(text, "version: "+from, "version: "+p.Version)
		case ".yaml":
			if relative == definitionFile {
				text = strings.Replace(text, "version: "+from, "version: "+p.Version, 1)
			}
		}
		files[relative] = text
		return nil
	})
	return files, err
}

// others says which versions there are.
func (p *newPolicy) others() string {
	found, err := filepath.Glob(filepath.Join(p.policies, p.Name, "*", definitionFile))
	if err != nil || len(found) == 0 {
		return ""
	}
	var versions []string
	for _, f := range found {
		versions = append(versions, filepath.Base(filepath.Dir(f)))
	}
	return "; there is " + strings.Join(versions, ", ")
}

// create writes the files into a directory beside the final one and then renames it,
// so that a failure leaves nothing half done.
func (p *newPolicy) create(files map[string]string) (err error) {
	parent := filepath.Dir(p.dir())
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	draft, err := os.MkdirTemp(parent, ".new-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(draft)) }()
	for name, text := range files {
		file := filepath.Join(draft, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(draft, 0o755); err != nil {
		return err
	}
	return os.Rename(draft, p.dir())
}

func (p *newPolicy) report(to io.Writer) {
	fmt.Fprintf(to, "%s %s is in %s\n\n", p.Name, p.Version, p.dir())
	fmt.Fprintf(to, "test it:            go test %s\n", p.Import)
	fmt.Fprintf(to, "and its conformity: go test -race %s -run 'TestConformance/%s'\n", path.Dir(path.Dir(p.Import)), p.Name)
	fmt.Fprintf(to, "for Bazel:          bazel run //:gazelle, then add the label to a policy_engine_bundle\n")
}
