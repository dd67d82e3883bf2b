// Package trycmd is the command `pectl try`.
package trycmd

import (
	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/enginecall"
)

// Command returns the command. It has the engine do the work, since the engine's binary has
// the policies.
func Command() *cobra.Command {
	var asJSON, secrets bool
	c := &cobra.Command{
		Use:   "try CHAINS REQUEST --engine BINARY",
		Short: "Show what chains would do with one request, and why",
		Long: `
Runs one request through chains, without Envoy, and prints for each step what it did and
why (condition, outcome, what it changed by name, reason, cause, time), and then what the
upstream and the client would get.

CHAINS is a file of chains and routes, or a directory of such files. REQUEST is a YAML or
JSON file; "BINARY try --help" describes it. BINARY is the engine of a bundle, which has
the policies: pectl calls its command "try".

Exit codes:

    0  the request passed, or a policy or the engine answered it
    1  the files have problems, or the request could not be tried
    2  the command was called with wrong arguments or flags`[1:],
		Args: commandline.Args("CHAINS", "REQUEST"),
	}
	engine := enginecall.Flag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "write the report as JSON")
	c.Flags().BoolVar(&secrets, "show-secrets", false, "show the values of headers that may be secret")
	c.RunE = func(c *cobra.Command, args []string) error {
		call := []string{"try"}
		if asJSON {
			call = append(call, "--json")
		}
		if secrets {
			call = append(call, "--show-secrets")
		}
		return enginecall.Run(c, *engine, append(append(call, "--"), args...)...)
	}
	return c
}
