package engine

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/host"
	"policyengine.dev/runtime/trial"
	"policyengine.dev/runtime/worker"
)

func (p *program) tryCommand() *cobra.Command {
	var asJSON bool
	var o trial.Options
	c := &cobra.Command{
		Use:   "try CHAINS REQUEST",
		Short: "Show what chains would do with one request",
		Long: `
Runs one request through the chains of this binary's policies, without Envoy, and prints
what each step did and why, and then what the upstream and the client would get.

CHAINS is a file of chains and routes, or a directory of such files. REQUEST is a YAML or
JSON file:

    route: charge                 # required: the route that Envoy would choose
    method: POST                  # default GET
    scheme: https                 # default https
    authority: api.example.com    # default example.com
    path: /charges?dry=1          # default /
    headers:                      # a value, or a list of values, for each name
      content-type: application/json
    body: '{"amount": 1}'         # a text, a list of texts (pieces), or {base64: ...}
    trailers: {x-sum: "1"}
    attributes:                   # Envoy's attributes
      source.address: 192.0.2.1:4711
    response:                     # what the upstream answers; without it, no response phase runs
      status: 200
      headers: {content-type: application/json}
      body: '{"ok": true}'

Policies start as they do in an engine: they may fetch keys and read files. Values of
headers whose names suggest a secret are hidden.

Exit codes:

    0  the request passed, or a policy or the engine answered it
    1  the files have problems, or the request could not be tried
    2  the command was called with wrong arguments or flags`[1:],
		Args: commandline.Args("CHAINS", "REQUEST"),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write the report as JSON")
	c.Flags().BoolVar(&o.ShowSecrets, "show-secrets", false, "show the values of all headers")
	c.Flags().DurationVar(&o.Budget, "budget", trial.DefaultBudget, "time for the policies at each part of the exchange")
	c.RunE = func(c *cobra.Command, args []string) error {
		report, err := p.try(c, args[0], args[1], o)
		switch {
		case err != nil:
			return failed(c, err)
		case asJSON:
			return writeJSON(c.OutOrStdout(), report)
		}
		return report.WriteText(c.OutOrStdout())
	}
	return c
}

func (p *program) try(c *cobra.Command, chains, request string, o trial.Options) (*trial.Report, error) {
	registry, err := worker.NewRegistry(p.entries...)
	if err != nil {
		return nil, err
	}
	f, err := trial.Load(request)
	if err != nil {
		return nil, err
	}
	static := config.DefaultEngine()
	o.BodyLimit = static.Limits.Body
	record := new(trial.Record)
	logger := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	w := newWorker(static, registry, logger, host.NewMetrics(logger), record, nil)
	defer w.Close(c.Context()) //nolint:errcheck // the process ends
	update := config.FileSource{Path: chains}.Load()
	problems := checkLimits(static, update.Spec)
	if update.Err == nil && len(problems) == 0 {
		warnings, err := w.Update(c.Context(), update.Spec)
		for _, d := range warnings {
			fmt.Fprintln(c.ErrOrStderr(), "warning:", d.Error())
		}
		problems = problemsOf(err)
	}
	if err := update.Problems(problems); err != nil {
		return nil, err
	}
	return trial.Run(c.Context(), source{w}, record, f, o)
}
