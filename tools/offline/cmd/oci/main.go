// Command oci carries out what the closed-network stand-ins of rules_oci order: a
// target of theirs is a link to it, with the orders in a file beside.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"policyengine.dev/tools/offline/oci"
	"policyengine.dev/tools/runfiles"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "oci:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 5 && args[1] == "tarball" {
		return writeTarball(args[2], args[3], args[4])
	}
	file, err := os.Open(args[0] + ".json")
	if err != nil {
		return fmt.Errorf("this is run as a target of oci_push or oci_load: %w", err)
	}
	defer file.Close()
	orders, err := oci.ReadOrders(file)
	if err != nil {
		return err
	}
	dir, err := runfiles.Dir(args[0], os.Getenv)
	if err != nil {
		return err
	}
	return orders.Run(ctx, dir, args[1:], oci.Host)
}

func writeTarball(image, tags, to string) (err error) {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return oci.WriteTarball(image, tags, f)
}
