// Package policycmd is `pectl policy`: it creates policies and maintains the list of
// policy versions.
package policycmd

import "github.com/spf13/cobra"

// Command returns the group `policy`, for one call.
func Command() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Create policies and maintain the list of policy versions",
	}
	c.AddCommand(newCommand(), indexCommand())
	return c
}
