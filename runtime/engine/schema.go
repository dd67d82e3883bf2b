package engine

import (
	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/config/editor"
	"policyengine.dev/runtime/worker"
)

func (p *program) schemaCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of chains and routes for editors",
		Long: `
Prints a JSON Schema (2020-12) of files of chains and routes, with the names, the versions
and the parameters of the policies in this binary. An editor completes and checks such
files by it. The check command is stricter.`[1:],
		Args:              commandline.Args(),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		registry, err := worker.NewRegistry(p.entries...)
		if err != nil {
			return failed(c, err)
		}
		schema, err := editor.Schema(registry)
		if err != nil {
			return failed(c, err)
		}
		_, err = c.OutOrStdout().Write(schema)
		return err
	}
	return c
}
