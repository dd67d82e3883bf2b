package engine

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/configdiff"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/worker"
)

func (p *program) diffCommand() *cobra.Command {
	var asJSON, fail bool
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what a new configuration changes, and what may widen what is let through",
		Long: `
Compares two files of chains and routes, or two directories of such files. NEW has to be
valid for this engine. Problems of OLD are warnings, since another engine may run it.

A change that may widen what is let through is marked. The list is closed:

`[1:] + wideningList() + `
A name or pattern that is removed is not marked if another entry gives the same name the
same chain. The comparison does not know what conditions and parameters mean. It compares
what the files say: a file that a parameter names may have changed as well. Secrets are
masked as in /config_dump; a secret that has changed is reported without its value.

Exit codes:

    0  the configurations were compared
    1  a configuration could not be read, or NEW has problems
    2  the command was called with wrong arguments or flags
    3  with --fail-on-widening: a change is marked`,
		Args: commandline.Args("OLD", "NEW"),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write the report as JSON")
	c.Flags().BoolVar(&fail, "fail-on-widening", false, "exit with 3 if a change may widen what is let through")
	file := optionalConfigFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		report, err := p.diff(c, *file, args[0], args[1])
		if err != nil {
			return failed(c, err)
		}
		if asJSON {
			err = writeJSON(c.OutOrStdout(), report)
		} else {
			err = report.WriteText(c.OutOrStdout())
		}
		if err == nil && fail && report.MayWiden {
			err = commandline.ErrFindings
		}
		return err
	}
	return c
}

// wideningList is the closed list, a line for each reason.
func wideningList() (text string) {
	for _, w := range configdiff.Widenings() {
		text += "    - " + string(w) + "\n"
	}
	return text
}

// optionalConfigFlag adds the flag --config to a command that does without engine.yaml.
func optionalConfigFlag(c *cobra.Command) *string {
	file := c.Flags().String("config", "", "the engine.yaml `file` with the limits and backends that count (default the defaults of engine.yaml)")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	return file
}

// loadOptional reads engine.yaml, or returns its defaults where no file is given.
func loadOptional(file string) (config.Engine, error) {
	if file == "" {
		return config.DefaultEngine(), nil
	}
	return config.LoadEngine(file)
}

func (p *program) diff(c *cobra.Command, file, old, new string) (*configdiff.Report, error) {
	registry, err := worker.NewRegistry(p.entries...)
	if err != nil {
		return nil, err
	}
	static, err := loadOptional(file)
	if err != nil {
		return nil, err
	}
	before, after := config.Load(old), config.Load(new)
	if before.Err != nil {
		return nil, before.Err
	}
	if err := validate(static, registry, before); err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "warning: this engine would refuse the old configuration:\n%v\n", err)
	}
	if err := validate(static, registry, after); err != nil {
		return nil, err
	}
	return configdiff.Compare(registry, before.Spec, after.Spec), nil
}

// validate returns every problem of a configuration, without starting its policies.
func validate(static config.Engine, registry *worker.Registry, update config.Update) error {
	discard := slog.New(slog.DiscardHandler)
	w := newWorker(static, registry, discard, host.NewMetrics(discard), nil, nil)
	defer w.Close(context.Background()) //nolint:errcheck // nothing is in force
	_, err := w.Check(update.Spec)
	return update.Problems(append(problemsOf(err), checkLimits(static, update.Spec)...))
}
