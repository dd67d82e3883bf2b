// Command cmd attaches documents to an image that is in a registry. The targets NAME_attach of bundles run it:
//
//	cmd --image LAYOUT [--repository R] [--document TYPE=FILE ...]
//
// The image is found in the repository by the digest that it has in its layout. Credentials are those of docker login.
// Exits 1 if any document was not attached; standard error then says which.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"policyengine.dev/tools/attach"
	"policyengine.dev/tools/builder/image"
	"policyengine.dev/tools/runfiles"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

var types = map[string]string{"cyclonedx": attach.CycloneDX, "spdx": attach.SPDX, "in-toto": attach.InToto}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("attach", flag.ContinueOnError)
	layout := flags.String("image", "", "the image's OCI layout")
	repository := flags.String("repository", "", "the repository that the image was pushed to")
	var documents []attach.Document
	flags.Func("document", "cyclonedx=FILE, spdx=FILE or in-toto=FILE; may be repeated", func(s string) error {
		kind, file, _ := strings.Cut(s, "=")
		if types[kind] == "" {
			return fmt.Errorf("%q is not cyclonedx=FILE, spdx=FILE or in-toto=FILE", s)
		}
		content, err := os.ReadFile(locate(file))
		if err != nil {
			return err
		}
		documents = append(documents, attach.Document{Name: filepath.Base(file), Type: types[kind], Content: content})
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	digest, err := image.Digest(locate(*layout))
	if err != nil {
		return err
	}
	to, err := name.NewRepository(*repository)
	if err != nil {
		return fmt.Errorf("reading --repository: %w", err)
	}
	subject := to.Digest("sha256:" + digest)
	pushed, err := attach.Attach(ctx, subject, documents, remote.WithAuthFromKeychain(authn.DefaultKeychain))
	for i, d := range pushed {
		fmt.Fprintf(out, "%s@%s %s\n", to, d, documents[i].Name)
	}
	return err
}

// locate returns the path of a file that is named by its place among the runfiles or by a path.
func locate(file string) string {
	if path, err := runfiles.Path(file); err == nil {
		return path
	}
	return file
}
