package envoyconfig

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"policyengine.dev/tools/pectl/command"
	"policyengine.dev/tools/pectl/envoyconfig/check"
)

func checkCommand() *command.Command {
	var engine engineFlags
	var c checkFlags
	return &command.Command{
		Name:  "check",
		Args:  "FILE...",
		Short: "Says what in an Envoy configuration breaks the chains, or lets requests past them.",
		Long: `
Reads what Envoy reads, as Envoy reads it: a bootstrap configuration, resources of LDS,
RDS, SRDS, VHDS, ECDS and CDS, or what Envoy's admin interface gives as /config_dump, in
YAML or JSON. It finds these in ConfigMaps, too, and reads EnvoyFilter (Istio) and
EnvoyExtensionPolicy, EnvoyPatchPolicy and EnvoyProxy (Envoy Gateway). Several files are
parts of one configuration. "-" is standard input. Parts that were not there, or could
not be examined, are reported.

What is found is an error (requests pass chains that should decide on them, or fail
that should not), a warning, or a note.

exit codes:
  0  no error was found (with --strict: and no warning)
  1  the configuration could not be looked at
  2  the command was called wrongly
  3  an error was found (with --strict: or a warning)`,
		Flags: func(flags *flag.FlagSet) {
			engine.register(flags)
			c.register(flags)
		},
		Run: func(ctx context.Context, io command.IO, args []string) error {
			if len(args) == 0 {
				return command.Usagef("FILE is missing")
			}
			return c.run(ctx, &engine, io, args)
		},
	}
}

type checkFlags struct {
	cluster      string
	except       texts
	json, strict bool
}

func (c *checkFlags) register(flags *flag.FlagSet) {
	flags.StringVar(&c.cluster, "cluster", check.DefaultClusterName, "the `name` of the engine's cluster")
	flags.Var(&c.except, "except-listener", "the `name` of a listener whose requests need not pass the engine; may be given again")
	flags.BoolVar(&c.json, "json", false, "write JSON")
	flags.BoolVar(&c.strict, "strict", false, "count warnings as errors")
}

func (c *checkFlags) run(ctx context.Context, engine *engineFlags, io command.IO, args []string) error {
	n, err := engine.load(ctx)
	if err != nil {
		return err
	}
	files, err := readConfigs(io.In, args)
	if err != nil {
		return err
	}
	report, err := check.Check(files, n, check.Options{ClusterName: c.cluster, ExceptListeners: c.except})
	if err != nil {
		return err
	}
	if c.json {
		e := json.NewEncoder(io.Out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		err = e.Encode(report)
	} else {
		err = writeText(io.Out, report)
	}
	if err == nil && (report.Errors > 0 || c.strict && report.Warnings > 0) {
		err = command.ErrFindings
	}
	return err
}

func readConfigs(stdin io.Reader, names []string) ([]check.File, error) {
	var files []check.File
	for _, name := range names {
		if slices.ContainsFunc(files, func(f check.File) bool { return f.Name == name }) {
			return nil, command.Usagef("%s is given twice", name)
		}
		var src []byte
		var err error
		if name == "-" {
			src, err = readAll(stdin, "standard input", check.MaxFile)
		} else {
			src, err = readFile(name, check.MaxFile)
		}
		if err != nil {
			return nil, err
		}
		files = append(files, check.File{Name: name, Src: src})
	}
	return files, nil
}

// writeText writes findings for people, each with its place in a line of its own
// that editors understand.
func writeText(w io.Writer, r *check.Report) error {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s:%d:%d: %s: %s [%s]\n", f.File, f.Line, f.Column, f.Severity, f.Problem, f.Rule)
		if len(f.In) > 0 {
			fmt.Fprintf(&b, "    in:     %s\n", strings.Join(f.In, ", "))
		}
		fmt.Fprintf(&b, "    remedy: %s\n", f.Remedy)
	}
	for _, rule := range check.Rules {
		if n := r.Omitted[rule.ID]; n > 0 {
			fmt.Fprintf(&b, "and %d more [%s]\n", n, rule.ID)
		}
	}
	l := r.Looked
	fmt.Fprintf(&b, "%s, %s, %s in %s, %s, %s and %s (the engine: %d)\n", count(r.Errors, "error"), count(r.Warnings, "warning"), count(r.Notes, "note"),
		count(l.Listeners, "listener"), count(l.ConnectionManagers, "connection manager"), count(l.Routes, "route"), count(l.Clusters, "cluster"), l.EngineClusters)
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
