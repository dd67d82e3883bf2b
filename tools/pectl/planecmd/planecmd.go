// Package planecmd is the command `pectl control-plane`.
package planecmd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"policyengine.dev/runtime/commandline"
	"policyengine.dev/tools/controlplane"
)

type flags struct {
	listen, pages, engine      string
	token                      string
	certificate, key, clientCA string
	insecure                   bool
}

// Command returns the command.
func Command() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "control-plane DIR",
		Short: "Serve a directory of chains and routes to engines over xDS",
		Long: `
Serves the chains and routes of a directory to engines, over the aggregated discovery
service and the PolicyDiscoveryService, in both variants of xDS.

The files in DIR are for engines whose engine.yaml names no cluster, and those of each
directory below it for the engines of the cluster of that name. Changes are served once
nothing is wrong with them. What is refused leaves what is served as it is.

The last 50 versions of each cluster are kept below its directory, in .versions. With
--token-file, "rollback" serves one of them again, and PUT /clusters/CLUSTER/chains/NAME
(or routes) at the address of the pages changes a resource: the body has it as a file
does, If-Match the version that was seen, and Authorization the token (Bearer). The
cluster "-" is that of engines without one.

With --client-ca a client has to show a certificate of that authority, which also names
its cluster: the last segment of its SPIFFE id or, without one, its DNS name.

Exit codes:

    0  after SIGINT
    1  nothing could be served
    2  the command was called with wrong arguments or flags`[1:],
		Args: commandline.Args("DIR"),
	}
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:9003", "where engines connect to: `host:port`, or unix:/path")
	c.Flags().StringVar(&f.pages, "pages", "127.0.0.1:9004", "where the page and /status are: `host:port`, or unix:/path")
	c.Flags().StringVar(&f.engine, "engine", "", "an engine's `binary` that checks each configuration before it is served")
	c.Flags().StringVar(&f.certificate, "tls-cert", "", "PEM `file` of the server's certificate")
	c.Flags().StringVar(&f.key, "tls-key", "", "PEM `file` of its key")
	c.Flags().StringVar(&f.clientCA, "client-ca", "", "PEM `file` of the authorities of engines' certificates")
	c.Flags().BoolVar(&f.insecure, "insecure", false, "serve in plaintext on an address that other machines can reach")
	c.Flags().StringVar(&f.token, "token-file", "", "`file` with the token that lets its bearer change configurations and roll back over HTTP; without it nobody can")
	c.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	c.RunE = func(c *cobra.Command, args []string) error { return serve(c, args[0], f) }
	c.AddCommand(statusCommand(), rollbackCommand())
	return c
}

func serve(c *cobra.Command, dir string, f flags) error {
	ctx := c.Context()
	options, err := f.serverOptions()
	if err != nil {
		return err
	}
	token, err := readToken(f.token)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	plane, err := controlplane.New(ctx, controlplane.Options{Dir: dir, Engine: f.engine, Bind: f.clientCA != "", Token: token, Logger: logger})
	if err != nil {
		return err
	}
	l, err := listen(f.listen)
	if err != nil {
		return err
	}
	pages, err := listen(f.pages)
	if err != nil {
		l.Close()
		return err
	}
	server := grpc.NewServer(options...)
	plane.Register(server)
	web := &http.Server{Handler: plane.Handler(), ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	failures := make(chan error, 2)
	go func() { failures <- server.Serve(l) }()
	go func() { failures <- web.Serve(pages) }()
	defer web.Close()
	defer server.Stop()
	go plane.Watch(ctx)
	logger.Info("serving", slog.String("address", l.Addr().String()), slog.String("pages", pages.Addr().String()))
	select {
	case <-ctx.Done():
		return nil
	case err := <-failures:
		return err
	}
}

// listen opens host:port, or a Unix socket that only the same user can connect to.
func listen(address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return net.Listen("tcp", address)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// maxRequest bounds a message of an engine, which names the resources that it has.
const maxRequest = 16 << 20

func (f flags) serverOptions() ([]grpc.ServerOption, error) {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxRequest), grpc.MaxConcurrentStreams(100),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	if f.certificate == "" {
		if f.clientCA != "" {
			return nil, commandline.Usagef("--client-ca needs --tls-cert and --tls-key")
		}
		if !strings.HasPrefix(f.listen, "unix:") && !f.insecure && !loopback(f.listen) {
			return nil, commandline.Usagef("%s can be reached by other machines; give --tls-cert and --tls-key, or --insecure", f.listen)
		}
		return options, nil
	}
	read := func() (*tls.Config, error) {
		pair, err := tls.LoadX509KeyPair(f.certificate, f.key)
		if err != nil {
			return nil, err
		}
		t := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, SessionTicketsDisabled: true}
		if f.clientCA == "" {
			return t, nil
		}
		pem, err := os.ReadFile(f.clientCA)
		if err != nil {
			return nil, err
		}
		t.ClientCAs, t.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !t.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading %s: it holds no certificate", f.clientCA)
		}
		return t, nil
	}
	if _, err := read(); err != nil {
		return nil, err
	}
	// The files are read for each connection: engines keep theirs for long.
	t := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return read() }}
	return append(options, grpc.Creds(credentials.NewTLS(t))), nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func statusCommand() *cobra.Command {
	var address string
	var asJSON bool
	c := &cobra.Command{
		Use:               "status",
		Short:             "Show what a control plane serves, and what each engine acknowledged or refused",
		Args:              commandline.Args(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			st, raw, err := fetch(c.Context(), address)
			if err != nil {
				return err
			}
			if asJSON {
				_, err := c.OutOrStdout().Write(raw)
				return err
			}
			return write(c.OutOrStdout(), st)
		},
	}
	c.Flags().StringVar(&address, "pages", "127.0.0.1:9004", "the address of the control plane's pages: `host:port`, or unix:/path")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

// maxStatus bounds what is read of a control plane.
const maxStatus = 64 << 20

// ask makes a request to the pages of a control plane, and returns the body.
func ask(ctx context.Context, method, address, path, token string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	host := address
	if socket, unix := strings.CutPrefix(address, "unix:"); unix {
		host = "localhost"
		client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		return nil, fmt.Errorf("the control plane at %s answers %s: %s", address, response.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

func fetch(ctx context.Context, address string) (st controlplane.Status, raw []byte, err error) {
	if raw, err = ask(ctx, http.MethodGet, address, "/status", ""); err == nil {
		err = json.Unmarshal(raw, &st)
	}
	return st, raw, err
}

// readToken reads a file with a token, without the end of its line.
func readToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if len(token) < 16 {
		return "", fmt.Errorf("%s: a token has at least 16 characters; write a random one", file)
	}
	return token, nil
}

func rollbackCommand() *cobra.Command {
	var address, cluster, file string
	c := &cobra.Command{
		Use:   "rollback VERSION",
		Short: "Have a control plane serve an earlier version again",
		Long: `
Puts the files of a version back in place, and serves them. Versions are listed, newest
first, at /clusters/CLUSTER/versions of the control plane's pages.

Exit codes:

    0  the version is served
    1  it is not kept, or could not be served
    2  the command was called with wrong arguments or flags`[1:],
		Args:              commandline.Args("VERSION"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			token, err := readToken(file)
			if err != nil {
				return err
			}
			_, err = ask(c.Context(), http.MethodPost, address, "/clusters/"+url.PathEscape(cluster)+"/rollback/"+url.PathEscape(args[0]), token)
			return err
		},
	}
	c.Flags().StringVar(&address, "pages", "127.0.0.1:9004", "the address of the control plane's pages: `host:port`, or unix:/path")
	c.Flags().StringVar(&cluster, "cluster", "-", "the `name` of the cluster; \"-\" is that of engines without one")
	c.Flags().StringVar(&file, "token-file", "", "`file` with the control plane's token (required)")
	_ = c.MarkFlagRequired("token-file")
	return c
}

// write prints a status as text.
func write(to io.Writer, st controlplane.Status) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	name := func(cluster string) string {
		if cluster == "" {
			return "(no cluster)"
		}
		return cluster
	}
	for _, cluster := range slices.Sorted(maps.Keys(st.Versions)) {
		fmt.Fprintf(w, "%s\tserved %s\n", name(cluster), st.Versions[cluster])
	}
	for _, cluster := range slices.Sorted(maps.Keys(st.Problems)) {
		fmt.Fprintf(w, "%s\tNOT SERVED: %s\n", name(cluster), st.Problems[cluster])
	}
	for _, e := range st.Engines {
		state := "acknowledged"
		for url, sent := range e.Sent {
			if e.Accepted[url] != sent {
				state = "waiting"
			}
		}
		if len(e.Refused) > 0 {
			state = "REFUSED"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", e.ID, name(e.Cluster), state)
		for _, url := range slices.Sorted(maps.Keys(e.Refused)) {
			fmt.Fprintf(w, "\t%s\t%s\n", url, e.Refused[url])
		}
	}
	return w.Flush()
}
