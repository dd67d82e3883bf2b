package engine

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/bundle"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/worker"
)

// program is what the commands of one engine have in common.
type program struct {
	entries []worker.Entry
	// manifest describes the bundle; nil where the program is none.
	manifest *bundle.Manifest
	signals  <-chan os.Signal
}

// command returns the command line, for one call.
func (p *program) command() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy-engine",
		Short: "Serve policies to Envoy over its external processing filter",
		Long: `
Serves policies to Envoy over its external processing filter (ext_proc).

Without a command, policy-engine does what "policy-engine run" does. The flags of earlier
versions (-config, -check, -start, -dump, -policies and -version) still work in calls
without a command.`[1:],
	}
	c.AddCommand(p.runCommand(), p.checkCommand(), p.tryCommand(), p.diffCommand(), p.explainCommand(), p.policiesCommand(), p.schemaCommand(), p.versionCommand())
	return c
}

// configFlag adds the flag --config.
func configFlag(c *cobra.Command) *string {
	file := c.Flags().String("config", DefaultConfig, "the engine's configuration `file`")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	return file
}

func (p *program) runCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Serve until SIGINT or SIGTERM",
		Long: `
Serves the chains and routes that engine.yaml names. SIGINT or SIGTERM starts a drain, and
a second signal ends it.

Exit codes:

    0  after a drain
    1  the engine could not start, or could not go on
    2  the command was called with wrong arguments or flags`[1:],
		Args:              commandline.Args(),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write logs as JSON, whatever engine.yaml says, and also the problems that keep the engine from starting")
	file := configFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		registry, err := worker.NewRegistry(p.entries...)
		var static config.Engine
		if err == nil {
			static, err = config.LoadEngine(*file)
		}
		static.Telemetry.Logs.JSON = static.Telemetry.Logs.JSON || asJSON
		logger := newLogger(static.Telemetry.Logs, c.ErrOrStderr())
		if err == nil {
			err = p.serve(static, registry, logger)
		}
		if err != nil && asJSON {
			logger.Error("cannot serve", "problems", admin.Problems(err))
			return commandline.Exit(exitFailed)
		}
		return failed(c, err)
	}
	return c
}

func (p *program) policiesCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:               "policies",
		Short:             "List the policy versions in this binary",
		Args:              commandline.Args(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			registry, err := worker.NewRegistry(p.entries...)
			if err != nil {
				return failed(c, err)
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), admin.Policies(registry))
			}
			for v := range registry.Versions {
				fmt.Fprintf(c.OutOrStdout(), "%s\t%s\n", v, v.Definition.Description)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write a JSON array with name, version, description and phases of each")
	return c
}

// failed reports err without the command's name, so that each line of it begins with the
// file and the line of the problem. A nil err is no failure.
func failed(c *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	fmt.Fprintln(c.ErrOrStderr(), err)
	return commandline.Exit(exitFailed)
}

func writeJSON(to io.Writer, value any) error {
	e := json.NewEncoder(to)
	e.SetIndent("", "  ")
	return e.Encode(value)
}
