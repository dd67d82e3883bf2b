package configcmd

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/enginecall"
)

// formats are the values of --format.
var formats = map[string]func(io.Writer, admin.CheckReport) error{
	"text": writeText, "json": writeJSON, "sarif": writeSARIF, "github": writeGitHub,
}

func checkCommand() *cobra.Command {
	var file, format string
	var start bool
	c := &cobra.Command{
		Use:   "check CHAINS... --engine BINARY",
		Short: "Check files of chains and routes with an engine",
		Long: `
Checks files of chains and routes, or directories of such files, which are one
configuration together. The verdicts are the engine's own: BINARY is the engine of a
bundle, which has the policies.

Formats:

    text    a line for each problem and each warning
    json    the report of "BINARY check --json"
    sarif   SARIF 2.1.0, for code scanning
    github  workflow commands, which GitHub shows beside the lines of the files

Names of files are relative to the working directory if they are below it, so call it
at the root of the repository.

Exit codes:

    0  the engine would accept the configuration; there may be warnings
    1  the check could not be made
    2  the command was called with wrong arguments or flags
    3  there are problems`[1:],
		Args: commandline.ArgsOrMore("CHAINS"),
	}
	engine := enginecall.Flag(c)
	names := strings.Join(slices.Sorted(maps.Keys(formats)), ", ")
	c.Flags().StringVar(&format, "format", "text", "the output's `format`: "+names)
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(slices.Sorted(maps.Keys(formats)), cobra.ShellCompDirectiveNoFileComp))
	configFlag(c, &file)
	c.Flags().BoolVar(&start, "start", false, "also start the policies, which fetch keys and read files")
	c.RunE = func(c *cobra.Command, chains []string) error {
		write := formats[format]
		if write == nil {
			return commandline.Usagef("there is no format %q; write one of %s", format, names)
		}
		call := []string{"check", "--json"}
		if file != "" {
			call = append(call, "--config="+file)
		}
		if start {
			call = append(call, "--start")
		}
		report, err := check(c, *engine, append(append(call, "--"), chains...))
		if err != nil {
			return err
		}
		if err := write(c.OutOrStdout(), report); err != nil {
			return err
		}
		if !report.Valid {
			return commandline.ErrFindings
		}
		return nil
	}
	return c
}

// check has the engine check, and decodes its report.
func check(c *cobra.Command, engine string, call []string) (report admin.CheckReport, err error) {
	out, code, err := enginecall.Output(c, engine, call...)
	if err != nil {
		return report, err
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return report, fmt.Errorf("the engine ended with exit code %d and without a report; pectl and the engine have to be of the same version: %w", code, err)
	}
	if report.Valid != (code == 0) {
		return report, fmt.Errorf("the engine ended with exit code %d, which contradicts its report", code)
	}
	return report, nil
}

// finding is a problem or a warning.
type finding struct {
	admin.ProblemDump
	warning bool
}

// findings are problems and then warnings.
func findings(r admin.CheckReport) (all []finding) {
	for _, p := range r.Problems {
		all = append(all, finding{p, false})
	}
	for _, w := range r.Warnings {
		all = append(all, finding{w, true})
	}
	return all
}

// text is what is wrong, where in the configuration, and what would be right, without the
// file.
func (f finding) text() string {
	text := f.Message
	if f.Path != "" {
		text = f.Path + ": " + text
	}
	if f.Remedy != "" {
		text += "; " + f.Remedy
	}
	return text
}

func writeText(w io.Writer, r admin.CheckReport) error {
	var b strings.Builder
	for _, f := range findings(r) {
		if f.File != "" {
			b.WriteString(f.File)
			if f.Line > 0 {
				fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
			}
			b.WriteString(": ")
		}
		if f.warning {
			b.WriteString("warning: ")
		}
		b.WriteString(f.text() + "\n")
	}
	if r.Valid {
		fmt.Fprintf(&b, "%d chains and %d routes, nothing wrong", r.Chains, r.Routes)
		if r.Started {
			b.WriteString("; every policy has started")
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeJSON(w io.Writer, value admin.CheckReport) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(value)
}
