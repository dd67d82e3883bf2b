// Package envoyconfig is the command pectl envoy-config: it writes the Envoy
// configuration that an engine needs, and says what in an existing one would break
// the engine's chains or let requests past them.
package envoyconfig

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/pectl/envoyconfig/generate"
)

// Command returns the command, for one call.
func Command() *cobra.Command {
	var engine engineFlags
	var g generateFlags
	c := &cobra.Command{
		Use:   "envoy-config",
		Short: "Write the Envoy configuration that an engine needs, or check an existing one",
		Long: `
Writes the parts that an Envoy configuration needs for an engine: the external processing
filter, the engine's cluster, the listener's buffer limit, and the settings of single
routes.

The engine says what its chains need. By default, the command asks the running engine at
the admin address in engine.yaml; --admin, --dump and --engine name another source.

Exit codes:

    0  the configuration was written
    1  the configuration could not be written; there is no output then
    2  the command was called with wrong arguments or flags`[1:],
		Args:              commandline.Args(),
		RunE:              func(c *cobra.Command, _ []string) error { return g.run(c, &engine) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	engine.register(c)
	g.register(c)
	c.AddCommand(checkCommand())
	return c
}

func (g *generateFlags) run(c *cobra.Command, engine *engineFlags) error {
	options, err := g.options()
	if err != nil {
		return err
	}
	n, err := engine.load(c.Context())
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
	_, err = c.OutOrStdout().Write(b.Bytes())
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

func (g *generateFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&g.format, "format", "yaml", "output `format`: yaml or json")
	flags.StringVar(&g.out, "out", "", "write to this `file` instead of standard output")
	flags.Var(&g.addresses, "address", "`address` at which Envoy reaches an engine, host:port or unix:/path; repeat it for several engines (default the address in engine.yaml)")
	flags.StringVar(&g.o.Listener, "listener", "", "`address`, as written in engine.yaml, of the listener that Envoy connects to (default the first)")
	flags.StringVar(&g.o.ClusterName, "cluster", generate.DefaultClusterName, "`name` of the cluster")
	flags.StringVar(&g.o.FilterName, "filter", generate.DefaultFilterName, "`name` of the HTTP filter")
	flags.DurationVar(&g.o.MessageTimeout, "message-timeout", generate.DefaultMessageTimeout, "`duration` for which Envoy waits for each answer")
	flags.BoolVar(&g.o.FixedModes, "fixed-modes", false, "write no mode overrides; the engine then receives bodies even if conditions rule their policies out")
	flags.BoolVar(&g.o.PreferModeOverride, "prefer-mode-override", false, "let the engine ask for request bodies by mode overrides instead of routes. It would notice if Envoy ignored one. engine.yaml must set filter.preferModeOverride: true")
	flags.BoolVar(&g.o.KeepContentLength, "keep-content-length", false, "let bodies keep content-length whose chunks policies only read: their routes get BUFFERED in place of STREAMED, so Envoy's buffer limit bounds what arrives before the engine answers the headers")
	flags.BoolVar(&g.o.Routing, "allow-routing", false, "let policies change method and authority even if no chain reroutes")
	flags.Var(&g.requestAttributes, "request-attribute", "`name` of an additional attribute to send with requests; may be repeated. Attributes that conditions and policies read are included already")
	flags.Var(&g.responseAttributes, "response-attribute", "`name` of an additional attribute to send with responses; may be repeated")
	flags.UintVar(&g.maxHeaders, "max-headers", 0, "`number` that the connection manager sets as max_headers_count, if it does")
	flags.UintVar(&g.maxHeadersKB, "max-headers-kb", 0, "`number` of KiB that the connection manager sets as max_request_headers_kb, if it does")
	flags.UintVar(&g.maxRequests, "max-requests", generate.DefaultMaxRequests, "`number` of requests that may be in flight; Envoy answers 500 to more")
	flags.StringVar(&g.o.TLS.CA, "tls-ca", "", "if engine.yaml sets tls: `file`, on Envoy's machine, of the authorities that issue the engine's certificate")
	flags.StringVar(&g.o.TLS.SAN, "tls-san", "", "`name`, a DNS name or a URI, in the engine's certificate")
	flags.StringVar(&g.o.TLS.Certificate, "tls-certificate", "", "`file` of Envoy's own certificate, for engines that ask for one")
	flags.StringVar(&g.o.TLS.Key, "tls-key", "", "`file` of the certificate's private key")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"yaml", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagFilename("out")
}

func (g *generateFlags) options() (generate.Options, error) {
	var problems []error
	if g.format != "yaml" && g.format != "json" {
		problems = append(problems, commandline.Usagef("--format is yaml or json, not %q", g.format))
	}
	if g.o.MessageTimeout <= 0 {
		problems = append(problems, commandline.Usagef("--message-timeout must be more than 0: Envoy would give up at once"))
	}
	if g.maxRequests == 0 || g.maxRequests > math.MaxUint32 {
		problems = append(problems, commandline.Usagef("--max-requests is from 1 to 4294967295"))
	}
	o := g.o
	o.Addresses, o.RequestAttributes, o.ResponseAttributes = g.addresses, g.requestAttributes, g.responseAttributes
	if g.maxHeaders > 1<<20 {
		problems = append(problems, commandline.Usagef("--max-headers is at most %d", 1<<20))
	}
	if g.maxHeadersKB > maxHeadersKB {
		problems = append(problems, commandline.Usagef("--max-headers-kb is at most %d, as Envoy's own", maxHeadersKB))
	}
	o.MaxHeaders, o.MaxHeadersKB = int(min(g.maxHeaders, 1<<20)), int(min(g.maxHeadersKB, maxHeadersKB))
	o.MaxRequests = uint32(min(g.maxRequests, math.MaxUint32))
	return o, errors.Join(problems...)
}

// texts is a flag that can be given several times.
type texts []string

// Type implements pflag.Value.
func (t *texts) Type() string { return "stringArray" }

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
