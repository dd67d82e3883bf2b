// Package envoyconfig is the command pectl envoy-config: it writes the Envoy
// configuration that an engine needs, and says what in an existing one would break
// the engine's chains or let requests past them.
package envoyconfig

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"policyengine.dev/tools/pectl/command"
	"policyengine.dev/tools/pectl/envoyconfig/generate"
)

// Command returns the command, for one call.
func Command() *command.Command {
	var engine engineFlags
	var g generateFlags
	return &command.Command{
		Name:  "envoy-config",
		Short: "Writes the Envoy configuration that an engine needs, or checks an existing one.",
		Long: `
Writes the engine's external processing filter, its cluster, the listener's buffer
limit, and what single routes need: the parts to put into an Envoy configuration.

What the chains need is asked of the engine: of the one that runs where engine.yaml
says, unless --admin, --dump or --engine say otherwise.

exit codes:
  0  the configuration was written
  1  it could not be: nothing is written then
  2  the command was called wrongly`,
		Flags: func(flags *flag.FlagSet) {
			engine.register(flags)
			g.register(flags)
		},
		Run: func(ctx context.Context, io command.IO, args []string) error {
			if err := command.ExactArgs(args); err != nil {
				return err
			}
			return g.run(ctx, &engine, io)
		},
		Commands: []*command.Command{checkCommand()},
	}
}

func (g *generateFlags) run(ctx context.Context, engine *engineFlags, io command.IO) error {
	options, err := g.options()
	if err != nil {
		return err
	}
	n, err := engine.load(ctx)
	if err != nil {
		return err
	}
	document, err := generate.New(n, options)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	write := document.WriteYAML
	if g.format == "json" {
		write = document.WriteJSON
	}
	if err := write(&b); err != nil {
		return err
	}
	if g.out != "" {
		return replaceFile(g.out, b.Bytes())
	}
	_, err = io.Out.Write(b.Bytes())
	return err
}

type generateFlags struct {
	format, out                           string
	addresses                             texts
	requestAttributes, responseAttributes texts
	maxHeaders, maxHeadersKB, maxRequests uint
	o                                     generate.Options
}

// maxHeadersKB is the most that Envoy takes for max_request_headers_kb.
const maxHeadersKB = 8192

func (g *generateFlags) register(flags *flag.FlagSet) {
	flags.StringVar(&g.format, "format", "yaml", "the `format`: yaml or json")
	flags.StringVar(&g.out, "out", "", "write to this `file` rather than to standard output")
	flags.Var(&g.addresses, "address", "the `address` where Envoy finds an engine, host:port or unix:/path; given again, a further one; by default as engine.yaml listens")
	flags.StringVar(&g.o.Listener, "listener", "", "the `address`, as engine.yaml has it, of the listener that Envoy connects to; by default the first")
	flags.StringVar(&g.o.ClusterName, "cluster", generate.DefaultClusterName, "the cluster's `name`")
	flags.StringVar(&g.o.FilterName, "filter", generate.DefaultFilterName, "the HTTP filter's `name`")
	flags.DurationVar(&g.o.MessageTimeout, "message-timeout", generate.DefaultMessageTimeout, "how long Envoy waits for each answer, a `duration`")
	flags.BoolVar(&g.o.FixedModes, "fixed-modes", false, "leave mode overrides off, by which the engine is spared bodies that conditions have ruled out")
	flags.BoolVar(&g.o.PreferModeOverride, "prefer-mode-override", false, "let the engine ask for request bodies by mode overrides rather than routes show them, where it would see that Envoy ignores one; engine.yaml has to say filter.preferModeOverride: true")
	flags.BoolVar(&g.o.Routing, "allow-routing", false, "let policies change method and authority also where no chain reroutes")
	flags.Var(&g.requestAttributes, "request-attribute", "the `name` of a further attribute that requests come with, may be given again; those that conditions and policies read are known")
	flags.Var(&g.responseAttributes, "response-attribute", "the `name` of a further attribute that responses come with, may be given again")
	flags.UintVar(&g.maxHeaders, "max-headers", 0, "max_headers_count of the connection manager, a `number`, where it is set there")
	flags.UintVar(&g.maxHeadersKB, "max-headers-kb", 0, "max_request_headers_kb of the connection manager, a `number` of KiB, where it is set there")
	flags.UintVar(&g.maxRequests, "max-requests", generate.DefaultMaxRequests, "the `number` of requests that may be in flight; what is over it is answered 500")
	flags.StringVar(&g.o.TLS.CA, "tls-ca", "", "where engine.yaml has tls: the `file`, on Envoy's machine, of the authorities that the engine's certificate comes from")
	flags.StringVar(&g.o.TLS.SAN, "tls-san", "", "the `name`, a DNS name or a URI, that the engine's certificate carries")
	flags.StringVar(&g.o.TLS.Certificate, "tls-certificate", "", "the `file` of Envoy's own certificate, for engines that ask for one")
	flags.StringVar(&g.o.TLS.Key, "tls-key", "", "the `file` of its private key")
}

func (g *generateFlags) options() (generate.Options, error) {
	var problems []error
	if g.format != "yaml" && g.format != "json" {
		problems = append(problems, command.Usagef("--format is yaml or json, not %q", g.format))
	}
	if g.o.MessageTimeout <= 0 {
		problems = append(problems, command.Usagef("--message-timeout must be more than 0: Envoy would give up at once"))
	}
	if g.maxRequests == 0 || g.maxRequests > math.MaxUint32 {
		problems = append(problems, command.Usagef("--max-requests is from 1 to 4294967295"))
	}
	o := g.o
	o.Addresses, o.RequestAttributes, o.ResponseAttributes = g.addresses, g.requestAttributes, g.responseAttributes
	if g.maxHeaders > 1<<20 {
		problems = append(problems, command.Usagef("--max-headers is at most %d", 1<<20))
	}
	if g.maxHeadersKB > maxHeadersKB {
		problems = append(problems, command.Usagef("--max-headers-kb is at most %d, as Envoy's own", maxHeadersKB))
	}
	o.MaxHeaders, o.MaxHeadersKB = int(min(g.maxHeaders, 1<<20)), int(min(g.maxHeadersKB, maxHeadersKB))
	o.MaxRequests = uint32(min(g.maxRequests, math.MaxUint32))
	return o, errors.Join(problems...)
}

// texts is a flag that can be given several times.
type texts []string

func (t *texts) String() string { return strings.Join(*t, ", ") }

func (t *texts) Set(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	*t = append(*t, s)
	return nil
}

// replaceFile puts a file in place whole or not at all.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
