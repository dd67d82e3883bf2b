package configcmd

import (
	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/enginecall"
)

func diffCommand() *cobra.Command {
	var flags engineFlags
	var fail bool
	c := &cobra.Command{
		Use:   "diff OLD NEW --engine BINARY",
		Short: "Show what a new configuration changes, and what may widen what is let through",
		Long: `
Compares two files of chains and routes, or two directories of such files: routes that
gain, lose or change chains; steps added, removed and reordered; and every field of a step
or chain that has changed. A change that may widen what is let through is marked with "!"
and the reason; "BINARY diff --help" has the closed list. BINARY is the engine of a bundle,
which has the policies: pectl calls its command "diff".

Exit codes:

    0  the configurations were compared
    1  a configuration could not be read, or NEW has problems
    2  the command was called with wrong arguments or flags
    3  with --fail-on-widening: a change is marked`[1:],
		Args: commandline.Args("OLD", "NEW"),
	}
	flags.add(c)
	c.Flags().BoolVar(&fail, "fail-on-widening", false, "exit with 3 if a change may widen what is let through")
	c.RunE = func(c *cobra.Command, args []string) error {
		call := append([]string{"diff"}, flags.call()...)
		if fail {
			call = append(call, "--fail-on-widening")
		}
		return enginecall.Run(c, *flags.engine, append(append(call, "--"), args...)...)
	}
	return c
}

// engineFlags are the flags of commands that the engine does.
type engineFlags struct {
	engine *string
	file   string
	asJSON bool
}

func (f *engineFlags) add(c *cobra.Command) {
	f.engine = enginecall.Flag(c)
	c.Flags().BoolVar(&f.asJSON, "json", false, "write the report as JSON")
	configFlag(c, &f.file)
}

// call are the flags of the engine's command.
func (f *engineFlags) call() (args []string) {
	if f.asJSON {
		args = append(args, "--json")
	}
	if f.file != "" {
		args = append(args, "--config="+f.file)
	}
	return args
}
