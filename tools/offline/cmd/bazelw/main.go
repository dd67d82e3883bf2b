// Command bazelw is what the script of that name at the root of the repository
// runs, once it has built it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"policyengine.dev/tools/offline/wrapper"
)

func main() {
	root := flag.String("root", "", "the checkout")
	cache := flag.String("cache", "", "the directory for everything that outlives a checkout")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := wrapper.New(*root, *cache).Run(ctx, flag.Args()); err != nil {
		var status wrapper.ExitStatus
		if errors.As(err, &status) {
			os.Exit(int(status))
		}
		if ctx.Err() != nil {
			fmt.Fprintln(os.Stderr, "bazelw: interrupted; the next run starts the set-up again")
			os.Exit(130)
		}
		fmt.Fprintln(os.Stderr, "bazelw:", err)
		stop()
		os.Exit(1)
	}
}
