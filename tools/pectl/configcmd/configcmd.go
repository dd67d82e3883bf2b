// Package configcmd is the group of commands `pectl config`. The engine's binary does the
// work, since it has the policies.
package configcmd

import "github.com/spf13/cobra"

// Command returns the group of commands.
func Command() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check, compare and explain files of chains and routes",
	}
	c.AddCommand(checkCommand(), diffCommand(), explainCommand(), schemaCommand())
	return c
}
