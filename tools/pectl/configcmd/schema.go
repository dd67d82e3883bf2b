package configcmd

import (
	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/enginecall"
)

func schemaCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "schema --engine BINARY",
		Short: "Print a JSON Schema by which editors complete chains, with an engine's policies",
		Long: `
Prints a JSON Schema (2020-12) of files of chains and routes, with the names, the versions
and the parameters of the policies of an engine. An editor completes such files by it, and
marks what is wrong. Conditions, references between parts of a file, and what policies
check by themselves are left to "pectl config check".

BINARY is the engine of a bundle: pectl calls its command "schema".

Exit codes:

    0  the schema was printed
    1  the engine has no schema to print
    2  the command was called with wrong arguments or flags`[1:],
		Args:              commandline.Args(),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	engine := enginecall.Flag(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return enginecall.Run(c, *engine, "schema") }
	return c
}
