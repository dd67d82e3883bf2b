package engine

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/explain"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/worker"
)

func (p *program) explainCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain ROUTE [CHAINS]...",
		Short: "Explain what the engine does with requests on a route",
		Long: `
Prints which entry of the configuration serves a route of Envoy's and why, which other
entries fit its name, which steps run in which phase, what Envoy has to show of an exchange,
and which limits hold. Nothing is started. Secrets are masked as in /config_dump.

CHAINS are files of chains and routes, or directories of such files. They are one
configuration. Without them the command reads what engine.yaml names.

A running engine shows the same under /config_dump?route=ROUTE, as text with &format=text.

Exit codes:

    0  the route is explained, also if no entry serves it
    1  the files have problems
    2  the command was called with wrong arguments or flags`[1:],
		Args: commandline.ArgsOrMore("ROUTE"),
	}
	file := configFlag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		static, update, err := load(c, *file, args[1:])
		if err != nil {
			return failed(c, err)
		}
		e, err := p.explain(c, static, update, args[0])
		switch {
		case err != nil:
			return failed(c, err)
		case asJSON:
			return writeJSON(c.OutOrStdout(), e)
		}
		return e.WriteText(c.OutOrStdout())
	}
	return c
}

// load reads the chains and routes that a command names, with the engine.yaml that it names
// or else the default settings; or, if it names no chains, what engine.yaml names.
func load(c *cobra.Command, file string, chains []string) (config.Engine, config.Update, error) {
	static := config.DefaultEngine()
	if len(chains) == 0 || c.Flags().Changed("config") {
		var err error
		if static, err = config.LoadEngine(file); err != nil {
			return static, config.Update{}, err
		}
	}
	if len(chains) == 0 {
		chains = []string{static.Chains}
	}
	return static, config.Load(chains...), nil
}

func (p *program) explain(c *cobra.Command, static config.Engine, update config.Update, route string) (*explain.Explanation, error) {
	registry, err := worker.NewRegistry(p.entries...)
	if err != nil {
		return nil, err
	}
	discard := slog.New(slog.DiscardHandler)
	w := newWorker(static, registry, discard, host.NewMetrics(discard), nil, nil)
	defer w.Close(context.Background()) //nolint:errcheck // nothing is in force
	snapshot, warnings, err := w.Preview(update.Spec)
	for _, d := range warnings {
		fmt.Fprintln(c.ErrOrStderr(), "warning:", d.Error())
	}
	if err == nil {
		defer snapshot.Release()
	}
	if err := update.Problems(append(problemsOf(err), checkLimits(static, update.Spec)...)); err != nil {
		return nil, err
	}
	return explain.Route(snapshot, route, explained(static)), nil
}

// explained is what an explanation needs of engine.yaml.
func explained(static config.Engine) explain.Engine {
	return explain.Engine{
		BodyLimit: static.Limits.Body, Memory: static.Limits.Memory,
		Filter: settings(static.Filter), PreferModeOverride: static.Filter.PreferModeOverride,
	}
}
