// Package oci is behind the closed-network stand-ins of rules_oci's rules: it
// pushes OCI layouts with crane, and hands them to a container engine.
package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Orders are what a rule has its target do: one of them. All paths are below the
// runfiles directory.
type Orders struct {
	Push *Push `json:"to_registry"`
	Load *Load `json:"to_engine"`
}

// Push pushes an image.
type Push struct {
	Crane          string `json:"crane"`
	Image          string `json:"image"`
	Repository     string `json:"repository"`      // empty if there is none
	RepositoryFile string `json:"repository_file"` // the same in a file
	TagsFile       string `json:"tags_file"`       // tags, one a line
}

// Load loads an image into a container engine.
type Load struct {
	Image    string `json:"image"`
	TagsFile string `json:"tags_file"`
	Loader   string `json:"loader"` // docker or podman on PATH if empty
}

// A Command runs programs: exec.CommandContext and its standard streams.
type Command func(ctx context.Context, stdin io.Reader, program string, args ...string) error

// Host runs programs with the streams of this process.
func Host(ctx context.Context, stdin io.Reader, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// ReadOrders reads the JSON that a rule wrote.
func ReadOrders(r io.Reader) (Orders, error) {
	var o Orders
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return Orders{}, fmt.Errorf("reading orders: %w", err)
	}
	if (o.Push == nil) == (o.Load == nil) {
		return Orders{}, errors.New("reading orders: want either to_registry or to_engine")
	}
	return o, nil
}

// Run carries the orders out. runfiles is the directory that their paths are
// below; args are the user's, which take precedence.
func (o Orders) Run(ctx context.Context, runfiles string, args []string, run Command) error {
	if o.Push != nil {
		return o.Push.run(ctx, runfiles, args, run)
	}
	return o.Load.run(ctx, runfiles, args, run)
}

// run pushes the image by its digest, so that no tag ever names half of it, and
// then tags it.
func (p Push) run(ctx context.Context, runfiles string, args []string, run Command) error {
	repository, tags, rest, err := pushFlags(args)
	if err != nil {
		return err
	}
	if repository == "" {
		repository = p.Repository
	}
	if repository == "" && p.RepositoryFile != "" {
		lines, err := readLines(filepath.Join(runfiles, p.RepositoryFile))
		if err != nil {
			return err
		}
		repository = strings.Join(lines, "")
	}
	if repository == "" {
		return errors.New("no repository: pass --repository, or set the attribute of that name")
	}
	if p.TagsFile != "" {
		more, err := readLines(filepath.Join(runfiles, p.TagsFile))
		if err != nil {
			return err
		}
		tags = append(tags, more...)
	}
	image := filepath.Join(runfiles, p.Image)
	digest, _, err := onlyImage(image)
	if err != nil {
		return err
	}
	crane := filepath.Join(runfiles, p.Crane)
	reference := repository + "@" + digest.String()
	if err := run(ctx, nil, crane, append([]string{"push", image, reference}, rest...)...); err != nil {
		return fmt.Errorf("pushing %s: %w", reference, err)
	}
	for _, tag := range tags {
		if err := run(ctx, nil, crane, append([]string{"tag", reference, tag}, rest...)...); err != nil {
			return fmt.Errorf("tagging %s as %s: %w", reference, tag, err)
		}
	}
	return nil
}

// pushFlags takes --repository and --tag out of args; the rest is crane's.
func pushFlags(args []string) (repository string, tags, rest []string, err error) {
	for i := 0; i < len(args); i++ {
		flag, value, inline := strings.Cut(args[i], "=")
		switch flag {
		case "-r", "--repository", "-t", "--tag":
			if !inline {
				i++
				if i == len(args) {
					return "", nil, nil, fmt.Errorf("%s requires a value", flag)
				}
				value = args[i]
			}
			if value == "" {
				return "", nil, nil, fmt.Errorf("%s requires a value", flag)
			}
			if flag == "-t" || flag == "--tag" {
				tags = append(tags, value)
			} else {
				repository = value
			}
		default:
			rest = append(rest, args[i])
		}
	}
	return repository, tags, rest, nil
}

func (l Load) run(ctx context.Context, runfiles string, args []string, run Command) error {
	program := filepath.Join(runfiles, l.Loader)
	if l.Loader == "" {
		var err error
		if program, err = exec.LookPath("docker"); err != nil {
			if program, err = exec.LookPath("podman"); err != nil {
				return errors.New("there is neither docker nor podman on PATH")
			}
		}
	}
	tar, w := io.Pipe()
	go func() {
		w.CloseWithError(WriteTarball(filepath.Join(runfiles, l.Image), filepath.Join(runfiles, l.TagsFile), w))
	}()
	defer tar.Close()
	if err := run(ctx, tar, program, append([]string{"load"}, args...)...); err != nil {
		return fmt.Errorf("loading the image with %s: %w", filepath.Base(program), err)
	}
	return nil
}

// WriteTarball writes the one image of a layout in the format of `docker save`,
// under the tags that tagsFile lists, one a line.
func WriteTarball(dir, tagsFile string, to io.Writer) error {
	_, image, err := onlyImage(dir)
	if err != nil {
		return err
	}
	lines, err := readLines(tagsFile)
	if err != nil {
		return err
	}
	images := map[name.Tag]v1.Image{}
	for _, line := range lines {
		tag, err := name.NewTag(line)
		if err != nil {
			return fmt.Errorf("reading %s: %w", filepath.Base(tagsFile), err)
		}
		images[tag] = image
	}
	if len(images) == 0 {
		return fmt.Errorf("reading %s: there is no tag in it", filepath.Base(tagsFile))
	}
	return tarball.MultiWrite(images, to)
}

// onlyImage opens the one image of an OCI layout. A sandbox and a runfiles directory
// show it as links, which the layout's reader refuses: what they lead to is read.
func onlyImage(dir string) (v1.Hash, v1.Image, error) {
	indexFile, err := filepath.EvalSymlinks(filepath.Join(dir, "index.json"))
	if err != nil {
		return v1.Hash{}, nil, fmt.Errorf("opening the image: %w", err)
	}
	dir = filepath.Dir(indexFile)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return v1.Hash{}, nil, fmt.Errorf("opening the image: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return v1.Hash{}, nil, fmt.Errorf("opening the image: %w", err)
	}
	if n := len(manifest.Manifests); n != 1 {
		return v1.Hash{}, nil, fmt.Errorf("opening the image: its index has %d manifests, want 1", n)
	}
	digest := manifest.Manifests[0].Digest
	image, err := index.Image(digest)
	if err != nil {
		return v1.Hash{}, nil, fmt.Errorf("opening the image: %w", err)
	}
	return digest, image, nil
}

func readLines(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range bytes.Lines(text) {
		if trimmed := strings.TrimSpace(string(line)); trimmed != "" {
			lines = append(lines, trimmed)
		}
	}
	return lines, nil
}
