package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/worker"
)

func (p *program) checkCommand() *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check [CHAINS]...",
		Short: "Check engine.yaml, chains and routes",
		Long: `
Checks engine.yaml and the chains and routes that it names, and reports every problem with
its file, line and column. Nothing is served. Without --start, nothing outside of the
configuration's own files is read.

With CHAINS, which are files of chains and routes or directories of such files, those are
checked in place of the ones that engine.yaml names. engine.yaml is then read only if
--config is given; otherwise its defaults count.

Exit codes:

    0  the engine would accept the configuration
    1  there are problems
    2  the command was called with wrong arguments or flags`[1:],
		Args: cobra.ArbitraryArgs,
	}
	file := configFlag(c)
	c.Flags().BoolVar(&o.start, "start", false, "also start the policies, which fetch keys and read files, and report those that cannot start")
	c.Flags().BoolVar(&o.dump, "dump", false, "print the checked configuration in the format of /config_dump, which is JSON")
	c.Flags().BoolVar(&o.json, "json", false, "write the result as JSON")
	c.MarkFlagsMutuallyExclusive("dump", "json")
	c.RunE = func(c *cobra.Command, chains []string) error {
		registry, err := worker.NewRegistry(p.entries...)
		if err != nil {
			return failed(c, err)
		}
		static := config.DefaultEngine()
		if len(chains) == 0 || c.Flags().Changed("config") {
			if static, err = config.LoadEngine(*file); err != nil {
				return o.report(c, checked{err: err})
			}
		}
		var update config.Update
		remote := len(chains) == 0 && static.XDS != nil
		switch {
		case len(chains) > 0:
			update = config.Load(chains...)
		case !remote:
			update = config.Load(static.Chains)
		}
		result := o.check(static, registry, update)
		result.remote = remote
		return o.report(c, result)
	}
	return c
}

type checkOptions struct{ start, dump, json bool }

// checked is the result of a check.
type checked struct {
	// remote says that chains and routes come from a control plane.
	remote   bool
	spec     worker.Spec
	warnings worker.Problems
	err      error
	// dump is what would be in force. It is made only if it is asked for, and only if
	// err is nil.
	dump admin.Dump
}

// check compiles the chains and routes and, if it is asked to, starts their policies.
func (o checkOptions) check(static config.Engine, registry *worker.Registry, update config.Update) checked {
	discard := slog.New(slog.DiscardHandler)
	w := newWorker(static, registry, discard, host.NewMetrics(discard), nil, nil)
	defer w.Close(context.Background()) //nolint:errcheck // nothing is in force
	snapshot, warnings, err := w.Preview(update.Spec)
	if err == nil {
		defer snapshot.Release()
	}
	problems := append(problemsOf(err), checkLimits(static, update.Spec)...)
	if o.start && update.Err == nil && len(problems) == 0 {
		_, err := w.Try(context.Background(), update.Spec)
		problems = problemsOf(err)
	}
	result := checked{spec: update.Spec, warnings: warnings, err: update.Problems(problems)}
	if o.dump && result.err == nil {
		result.dump = admin.Preview(build(), registry, snapshot, warnings)
	}
	return result
}

// report prints the result. The error is the exit code.
func (o checkOptions) report(c *cobra.Command, r checked) error {
	if o.json {
		return o.reportJSON(c, r)
	}
	for _, d := range r.warnings {
		fmt.Fprintln(c.ErrOrStderr(), "warning:", d.Error())
	}
	if r.err != nil {
		return failed(c, r.err)
	}
	if o.dump {
		return writeJSON(c.OutOrStdout(), r.dump)
	}
	if r.remote {
		_, err := fmt.Fprintln(c.OutOrStdout(), "engine.yaml has nothing wrong; chains and routes come from a control plane, which was not asked")
		return err
	}
	started := ""
	if o.start {
		started = "; every policy has started"
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%d chains and %d routes, nothing wrong%s\n", len(r.spec.Chains), len(r.spec.Routes), started)
	return err
}

func (o checkOptions) reportJSON(c *cobra.Command, r checked) error {
	report := admin.CheckReport{
		Valid: r.err == nil, Started: o.start && r.err == nil,
		Chains: len(r.spec.Chains), Routes: len(r.spec.Routes),
		Problems: []admin.ProblemDump{}, Warnings: []admin.ProblemDump{},
	}
	if len(r.warnings) > 0 {
		report.Warnings = admin.Problems(r.warnings)
	}
	if r.err != nil {
		report.Problems = admin.Problems(r.err)
	}
	err := writeJSON(c.OutOrStdout(), report)
	if err == nil && r.err != nil {
		err = commandline.Exit(exitFailed)
	}
	return err
}

// problemsOf are the problems that an error of the worker's consists of.
func problemsOf(err error) worker.Problems {
	var problems worker.Problems
	if err != nil && !errors.As(err, &problems) {
		problems = worker.Problems{{Message: err.Error()}}
	}
	return problems
}
