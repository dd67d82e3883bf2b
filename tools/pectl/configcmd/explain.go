package configcmd

import (
	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/enginecall"
)

func explainCommand() *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain ROUTE CHAINS... --engine BINARY",
		Short: "Explain what an engine does with requests on a route",
		Long: `
Prints which entry of the configuration serves a route of Envoy's and why, which other
entries fit its name and why they do not serve it, which steps run in which phase, what
Envoy has to show of an exchange, and which limits hold. Secrets are masked.

CHAINS are files of chains and routes, or directories of such files, which are one
configuration. BINARY is the engine of a bundle: pectl calls its command "explain". A
running engine shows the same under /config_dump?route=ROUTE.

Exit codes:

    0  the route is explained, also if no entry serves it
    1  the files have problems
    2  the command was called with wrong arguments or flags`[1:],
		Args: commandline.ArgsOrMore("ROUTE", "CHAINS"),
	}
	engine := enginecall.Flag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	configFlag(c, &file)
	c.RunE = func(c *cobra.Command, args []string) error {
		call := []string{"explain"}
		if asJSON {
			call = append(call, "--json")
		}
		if file != "" {
			call = append(call, "--config="+file)
		}
		return enginecall.Run(c, *engine, append(append(call, "--"), args...)...)
	}
	return c
}

// configFlag adds the flag --config.
func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "config", "", "the engine.yaml `file` with the limits and backends that count (default the defaults of engine.yaml)")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
}
