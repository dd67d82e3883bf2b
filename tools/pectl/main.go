// Pectl is the command line of policy authors and operators: see `pectl --help`.
package main

import (
	"context"
	"os"
	"os/signal"

	"policyengine.dev/tools/pectl/command"
	"policyengine.dev/tools/pectl/envoyconfig"
	"policyengine.dev/tools/pectl/policycmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := command.Main(ctx, root(), os.Args[1:], command.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// root has one entry for each group; a group is a package of its own.
func root() *command.Command {
	return &command.Command{
		Name:  "pectl",
		Short: "Helps those who write policies and those who run the policy engine.",
		Commands: []*command.Command{
			policycmd.Command(),
			envoyconfig.Command(),
		},
	}
}
