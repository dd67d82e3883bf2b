// Command builder does the steps of the rule policy_engine_bundle that are no
// compiling or linking. It is made to be run by Bazel:
//
//	builder validate  --importpath I --definition policy.yaml --out validated.json
//	builder manifest  --bundle NAME --go go1.2.3 --packages FILE [--policy validated.json ...] --out manifest.json
//	builder generate  --program engine|examples [--policy validated.json ...] [--manifest manifest.json] --out main.go
//	builder sbom      --manifest manifest.json --licenses licenses.json [--allow MIT ...] --cyclonedx FILE --spdx FILE
//	builder image     --binary B --bundle NAME [--policy validated.json ...] --out DIRECTORY
//	builder provenance --manifest manifest.json --image DIRECTORY --builder URI --sums go.sum [--source NAME=FILE ...] --out FILE
//
// An argument @FILE stands for the lines of a file. What is wrong goes to
// standard error, one problem a line, and the status is then 1.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"policyengine.dev/runtime/bundle"
	"policyengine.dev/tools/builder/image"
	"policyengine.dev/tools/builder/linked"
	"policyengine.dev/tools/builder/provenance"
	"policyengine.dev/tools/builder/registry"
	"policyengine.dev/tools/builder/sbom"
	"policyengine.dev/tools/builder/validated"
	"policyengine.dev/tools/licenses"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var commands = map[string]func(*flag.FlagSet) func() error{
	"validate": validate,
	"manifest": writeManifest,
	"generate": generate,
	"sbom":     writeSBOM,
	"image":    writeImage,

	"provenance": writeProvenance,
}

// run does one command. A flag that is wrong is reported to usage too.
func run(args []string, usage io.Writer) error {
	args, err := expand(args)
	if err != nil {
		return err
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return fmt.Errorf("the first argument is one of validate, manifest, generate, sbom, image and provenance")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(usage)
	command := commands[args[0]](flags)
	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("reading the command line: %w", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("reading the command line: unexpected argument %q", flags.Arg(0))
	}
	return command()
}

// expand replaces each @FILE by the file's lines.
func expand(args []string) ([]string, error) {
	var expanded []string
	for _, arg := range args {
		file, ok := strings.CutPrefix(arg, "@")
		if !ok {
			expanded = append(expanded, arg)
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading arguments: %w", err)
		}
		expanded = slices.AppendSeq(expanded, strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n"))
	}
	return expanded, nil
}

func validate(flags *flag.FlagSet) func() error {
	importPath := flags.String("importpath", "", "import path of the policy's Go package")
	file := flags.String("definition", "", "the policy.yaml")
	out := flags.String("out", "", "file to write the validated policy to")
	return func() error {
		src, err := os.ReadFile(*file)
		if err != nil {
			return fmt.Errorf("reading the definition: %w", err)
		}
		p, err := validated.New(*importPath, *file, src)
		if err != nil {
			return err
		}
		data, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("encoding the validated policy: %w", err)
		}
		return write(*out, data)
	}
}

func writeManifest(flags *flag.FlagSet) func() error {
	policies := policyFlag(flags)
	name := flags.String("bundle", "", "the bundle's name")
	goVersion := flags.String("go", "", "the version of Go, such as go1.26.8")
	packages := flags.String("packages", "", "the linked packages, one a line: import path, module and version, separated by tabs")
	out := flags.String("out", "", "file to write the manifest to")
	return func() error {
		read, err := readPolicies(*policies)
		if err != nil {
			return err
		}
		of, err := linked.ReadFile(*packages)
		if err != nil {
			return err
		}
		manifest, err := linked.Manifest(*name, *goVersion, read, of)
		if err != nil {
			return err
		}
		text, err := manifest.Encode()
		if err != nil {
			return err
		}
		return write(*out, append(text, '\n'))
	}
}

func readManifest(file string) (*bundle.Manifest, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	manifest, err := bundle.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return manifest, nil
}

func writeSBOM(flags *flag.FlagSet) func() error {
	manifestFile := flags.String("manifest", "", "the bundle's manifest")
	table := flags.String("licenses", "", "the licences of modules")
	toCycloneDX := flags.String("cyclonedx", "", "file to write CycloneDX to")
	toSPDX := flags.String("spdx", "", "file to write SPDX to")
	var allowed []string
	flags.Func("allow", "SPDX identifier of a licence that is allowed; may be repeated; without it, all are", func(s string) error {
		allowed = append(allowed, s)
		return nil
	})
	return func() error {
		manifest, err := readManifest(*manifestFile)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(*table)
		if err != nil {
			return fmt.Errorf("reading licences: %w", err)
		}
		known, err := licenses.Parse(text)
		if err != nil {
			return fmt.Errorf("%s: %w", *table, err)
		}
		components, err := sbom.Components(manifest, known, allowed)
		if err != nil {
			return err
		}
		asCycloneDX, err := sbom.CycloneDX(manifest, components)
		if err != nil {
			return err
		}
		asSPDX, err := sbom.SPDX(manifest, components)
		if err != nil {
			return err
		}
		return errors.Join(write(*toCycloneDX, asCycloneDX), write(*toSPDX, asSPDX))
	}
}

func generate(flags *flag.FlagSet) func() error {
	policies := policyFlag(flags)
	programs := map[string]registry.Program{"engine": registry.Engine, "examples": registry.Examples}
	program := flags.String("program", "engine", "what to generate: engine or examples")
	manifest := flags.String("manifest", "", "the bundle's manifest, for an engine")
	out := flags.String("out", "", "file to write the Go source to")
	return func() error {
		chosen, ok := programs[*program]
		if !ok {
			return fmt.Errorf("no program %q: there are engine and examples", *program)
		}
		read, err := readPolicies(*policies)
		if err != nil {
			return err
		}
		var text []byte
		if chosen.Manifest {
			m, err := readManifest(*manifest)
			if err != nil {
				return err
			}
			if text, err = m.Encode(); err != nil {
				return err
			}
		}
		source, err := registry.Generate(chosen, read, text)
		if err != nil {
			return err
		}
		return write(*out, source)
	}
}

func writeImage(flags *flag.FlagSet) func() error {
	policies := policyFlag(flags)
	binary := flags.String("binary", "", "the static binary")
	name := flags.String("bundle", "", "the bundle's name")
	out := flags.String("out", "", "directory to write the OCI layout to")
	labels := map[string]string{}
	flags.Func("label", "KEY=VALUE, a label of the image; may be repeated", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return fmt.Errorf("%q is not KEY=VALUE", s)
		}
		labels[key] = value
		return nil
	})
	return func() error {
		read, err := readPolicies(*policies)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(*binary)
		if err != nil {
			return fmt.Errorf("reading the binary: %w", err)
		}
		return image.Write(*out, content, bundleConfig(*name, read, labels))
	}
}

// The image of a bundle, as docs/platform-engineer.md describes it.
const (
	imageBinary = "/policy-engine"
	imageUser   = "65532:65532" // nobody in particular, and not root
	labelPrefix = "dev.policyengine."
)

func bundleConfig(name string, policies []*validated.Policy, labels map[string]string) image.Config {
	names := make([]string, 0, len(policies))
	for _, p := range policies {
		names = append(names, p.Definition.Name+"@"+p.Definition.Version)
	}
	slices.Sort(names)
	all := map[string]string{
		"org.opencontainers.image.title":       name,
		"org.opencontainers.image.description": "Envoy policy engine with the policies of the bundle " + name,
		labelPrefix + "bundle":                 name,
		labelPrefix + "policies":               strings.Join(names, ","),
	}
	for key, value := range labels {
		all[key] = value
	}
	return image.Config{
		Binary: imageBinary,
		User:   imageUser,
		Ports:  []string{"9001/tcp", "9002/tcp"},
		Labels: all,
		Tag:    "latest",
	}
}

// policyFlag is the flag that names validated policies.
func policyFlag(flags *flag.FlagSet) *[]string {
	var files []string
	flags.Func("policy", "a validated policy; may be repeated", func(s string) error {
		files = append(files, s)
		return nil
	})
	return &files
}

func readPolicies(files []string) ([]*validated.Policy, error) {
	policies := make([]*validated.Policy, 0, len(files))
	for _, file := range files {
		p, err := validated.ReadFile(file)
		if err != nil {
			return nil, err
		}
		policies = append(policies, p)
	}
	return policies, nil
}

func write(file string, data []byte) error {
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

func writeProvenance(flags *flag.FlagSet) func() error {
	manifestFile := flags.String("manifest", "", "the bundle's manifest")
	layout := flags.String("image", "", "the image's OCI layout")
	builder := flags.String("builder", "", "a URI that identifies who builds")
	sums := flags.String("sums", "", "the go.sum that has the linked modules")
	out := flags.String("out", "", "file to write the statement to")
	var sources [][2]string
	flags.Func("source", "NAME=FILE, a source file; may be repeated", func(s string) error {
		name, file, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return fmt.Errorf("%q is not NAME=FILE", s)
		}
		sources = append(sources, [2]string{name, file})
		return nil
	})
	return func() error {
		manifest, err := readManifest(*manifestFile)
		if err != nil {
			return err
		}
		build := provenance.Build{Manifest: manifest, Builder: *builder}
		if build.Image, err = image.Digest(*layout); err != nil {
			return err
		}
		text, err := os.ReadFile(*sums)
		if err != nil {
			return fmt.Errorf("reading go.sum: %w", err)
		}
		if build.Sums, err = provenance.ReadSums(text); err != nil {
			return err
		}
		slices.SortFunc(sources, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
		for _, s := range slices.Compact(sources) {
			source, err := provenance.ReadSource(s[0], s[1])
			if err != nil {
				return err
			}
			build.Sources = append(build.Sources, source)
		}
		statement, err := provenance.Statement(build)
		if err != nil {
			return err
		}
		return write(*out, statement)
	}
}
