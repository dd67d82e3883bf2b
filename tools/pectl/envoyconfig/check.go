package envoyconfig

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/envoyconfig/check"
)

func checkCommand() *cobra.Command {
	var engine engineFlags
	var f checkFlags
	c := &cobra.Command{
		Use:   "check FILE...",
		Short: "Find what in an Envoy configuration breaks the chains, or lets requests past them",
		Long: `
Reads an Envoy configuration as Envoy reads it: a bootstrap configuration, resources of
LDS, RDS, SRDS, VHDS, ECDS and CDS, or the output of Envoy's /config_dump, in YAML or
JSON. It also finds these in ConfigMaps, and reads EnvoyFilter (Istio) and
EnvoyExtensionPolicy, EnvoyPatchPolicy and EnvoyProxy (Envoy Gateway). Several files are
parts of one configuration. "-" is standard input. The command reports parts that are
missing or that it cannot examine.

A finding is an error (requests bypass a chain, or fail although they should not), a
warning, or a note.

Exit codes:

    0  there are no errors (with --strict: and no warnings)
    1  the configuration could not be read
    2  the command was called with wrong arguments or flags
    3  there are errors (with --strict: or warnings)`[1:],
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return commandline.Usagef("FILE is missing")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, &engine, args) },
	}
	engine.register(c)
	f.register(c)
	return c
}

type checkFlags struct {
	cluster      string
	except       texts
	json, strict bool
}

func (f *checkFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.cluster, "cluster", check.DefaultClusterName, "`name` of the engine's cluster")
	c.Flags().Var(&f.except, "except-listener", "`name` of a listener whose requests need not pass the engine; may be repeated")
	c.Flags().BoolVar(&f.json, "json", false, "write JSON")
	c.Flags().BoolVar(&f.strict, "strict", false, "treat warnings as errors")
}

func (f *checkFlags) run(c *cobra.Command, engine *engineFlags, args []string) error {
	n, err := engine.load(c.Context())
	if err != nil {
		return err
	}
	files, err := readConfigs(c.InOrStdin(), args)
	if err != nil {
		return err
	}
	report, err := check.Check(files, n, check.Options{ClusterName: f.cluster, ExceptListeners: f.except})
	if err != nil {
		return err
	}
	if f.json {
		e := json.NewEncoder(c.OutOrStdout())
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		err = e.Encode(report)
	} else {
		err = writeText(c.OutOrStdout(), report)
	}
	if err == nil && (report.Errors > 0 || f.strict && report.Warnings > 0) {
		err = commandline.ErrFindings
	}
	return err
}

func readConfigs(stdin io.Reader, names []string) ([]check.File, error) {
	var files []check.File
	for _, name := range names {
		if slices.ContainsFunc(files, func(f check.File) bool { return f.Name == name }) {
			return nil, commandline.Usagef("%s is given twice", name)
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

// writeText writes findings for people, each with its place in its own line
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
