// Package examples is what the program consists of that the build generates to
// try the examples of a bundle's policies: each has to make an instance.
package examples

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"policyengine.dev/sdk/definition"
	"policyengine.dev/sdk/policy"
	"policyengine.dev/sdk/policytest"
)

// Entry is one policy version, as a generated program names it.
type Entry struct {
	// Definition is the normalised definition (JSON).
	Definition string
	// Factory makes the instances.
	Factory policy.Builder
}

// Main tries the entries and ends the process: with status 0, after writing
// the file that the one command line argument names, or with status 1, after
// writing what is wrong to standard error.
func Main(entries []Entry) {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "one argument is needed: the file to write when every example has made an instance")
		os.Exit(2)
	}
	problems := Try(entries)
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
	if err := os.WriteFile(os.Args[1], nil, 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "writing the result:", err)
		os.Exit(1)
	}
}

// Try makes an instance of each example and closes it again. It returns what
// is wrong, in the order of the entries: an example that makes none, and a
// type with other phases than its definition declares.
func Try(entries []Entry) []string {
	var problems []string
	for _, entry := range entries {
		d, err := definition.Load([]byte(entry.Definition))
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		mismatches := entry.Factory.Mismatches()
		for _, m := range mismatches {
			problems = append(problems, fmt.Sprintf("%s %s: %s", d.Name, d.Version, m.Problem))
		}
		if declared := d.Phases; declared != entry.Factory.Phases() && len(mismatches) == 0 {
			problems = append(problems, fmt.Sprintf("%s %s: policy.yaml declares the phases %s, and %s implements %s; declare what it implements",
				d.Name, d.Version, declared, entry.Factory.TypeName(), entry.Factory.Phases()))
		}
		for _, example := range d.Examples {
			if err := try(d, entry.Factory, example); err != nil {
				problems = append(problems, report(fmt.Sprintf("%s %s: example %q", d.Name, d.Version, example.Name), err))
			}
		}
	}
	return problems
}

// report puts what is wrong into one line, and details into indented lines after it.
func report(what string, err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return what + ": " + strings.Join(lines, "\n    ")
}

func try(d *definition.Definition, factory policy.Builder, example definition.Example) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("making an instance panicked: %v\n%s", r, debug.Stack())
		}
	}()
	params, err := d.Validate(example.Params)
	if err != nil {
		return err
	}
	instance, err := factory.Build(params, policytest.NewHost().Policy())
	if err != nil {
		return fmt.Errorf("making an instance: %w", err)
	}
	if closer, ok := instance.(io.Closer); ok {
		if err := closer.Close(); err != nil {
			return fmt.Errorf("closing the instance: %w", err)
		}
	}
	return nil
}
