// Pectl is the command line for policy authors and operators. `pectl --help` lists its
// commands; docs/reference/pectl.md describes them.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/bundlecmd"
	"policyengine.dev/tools/pectl/configcmd"
	"policyengine.dev/tools/pectl/envoyconfig"
	"policyengine.dev/tools/pectl/planecmd"
	"policyengine.dev/tools/pectl/policycmd"
	"policyengine.dev/tools/pectl/trycmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := commandline.Main(ctx, root(), os.Args[1:], commandline.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// root returns the command line. Each group of commands is its own package.
func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "pectl",
		Short: "Tools for policy authors and for operators of the policy engine",
		Long: `
Tools for policy authors and for operators of the policy engine.

Every command exits with

    0  on success
    1  if it could not do its work
    2  if it was called with wrong arguments or flags
    3  if a check found errors`[1:],
	}
	c.AddCommand(policycmd.Command(), bundlecmd.Command(), configcmd.Command(), envoyconfig.Command(), planecmd.Command(), trycmd.Command())
	return c
}
