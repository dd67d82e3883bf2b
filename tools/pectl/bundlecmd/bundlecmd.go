// Package bundlecmd has the commands `pectl bundle`.
package bundlecmd

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/bundle"
	"policyengine.dev/runtime/commandline"
)

// Command returns the commands.
func Command() *cobra.Command {
	c := &cobra.Command{
		Use:   "bundle",
		Short: "Look into bundles",
		Long:  "Look into bundles: the binaries that a policy_engine_bundle gives.",
	}
	c.AddCommand(inspectCommand())
	return c
}

// maxBinary is how many bytes a binary may have.
const maxBinary = 1 << 30

func inspectCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "inspect BINARY",
		Short: "List the policies and modules in an engine's binary",
		Long: `
Prints the manifest in an engine's binary: the bundle's name, the policy versions with
digests of their definitions, and the Go modules with versions. The binary is not run, and
may be for another architecture. A binary that somebody else changed can have any manifest
in it: compare its digest with one that you trust.

Exit codes:

    0  the manifest was printed
    1  the file cannot be read, or has no valid manifest in it
    2  the command was called with wrong arguments or flags`[1:],
		Args: commandline.Args("BINARY"),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write the manifest as JSON (docs/reference/manifest.schema.json)")
	c.RunE = func(c *cobra.Command, args []string) error {
		m, err := inspect(args[0])
		if err != nil {
			return err
		}
		if asJSON {
			encoder := json.NewEncoder(c.OutOrStdout())
			encoder.SetIndent("", "  ")
			return encoder.Encode(m)
		}
		return write(c.OutOrStdout(), m)
	}
	return c
}

func inspect(file string) (*bundle.Manifest, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading the binary: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxBinary+1))
	if err != nil {
		return nil, fmt.Errorf("reading the binary: %w", err)
	}
	if len(content) > maxBinary {
		return nil, fmt.Errorf("reading the binary: %s has more than %d bytes", file, maxBinary)
	}
	m, err := bundle.Find(content)
	if err != nil {
		return nil, fmt.Errorf("inspecting %s: %w", file, err)
	}
	return m, nil
}

// write writes a manifest as text. Names are quoted where they have characters that a terminal would act on.
func write(to io.Writer, m *bundle.Manifest) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "bundle\t%s\n", printable(m.Bundle))
	fmt.Fprintf(w, "go\t%s\n", m.Go)
	for _, p := range m.Policies {
		fmt.Fprintf(w, "policy\t%s\t%s\t%s\n", printable(p.Name), p.Version, p.Definition)
	}
	for _, module := range m.Modules {
		fmt.Fprintf(w, "module\t%s\t%s\n", printable(module.Path), module.Version)
	}
	for _, p := range m.Packages {
		fmt.Fprintf(w, "package\t%s\n", printable(p))
	}
	return w.Flush()
}

func printable(s string) string {
	if quoted := fmt.Sprintf("%q", s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}
