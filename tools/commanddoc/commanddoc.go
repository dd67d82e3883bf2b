// Package commanddoc writes the reference page of a command line from its cobra commands.
package commanddoc

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Compare fails the test if the page at path is not the one of root. With update it writes
// the page. How is the command that renews the page, for the message and the page's head.
func Compare(t *testing.T, root *cobra.Command, path, how string, update bool) {
	t.Helper()
	want, err := Page(root, how)
	if err != nil {
		t.Fatal(err)
	}
	if update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not current; renew it with: %s\n(-commands +page)\n%s", path, how, diff)
	}
}

// Page returns the page: a section for root, and one for each command below it.
func Page(root *cobra.Command, how string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\nGenerated from the commands by `%s`.\n`%s completion --help` explains how to install shell completion.\n\n", root.Name(), how, root.Name())
	root.DisableAutoGenTag = true
	if err := section(&b, root); err != nil {
		return nil, err
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n'), nil
}

func section(b *bytes.Buffer, c *cobra.Command) error {
	if err := doc.GenMarkdownCustom(c, b, anchor); err != nil {
		return fmt.Errorf("describing %s: %w", c.CommandPath(), err)
	}
	for _, sub := range c.Commands() {
		if sub.Hidden || sub.Name() == "completion" || sub.Name() == "help" {
			continue
		}
		if err := section(b, sub); err != nil {
			return err
		}
	}
	return nil
}

// anchor makes a link within the page of the file name that cobra gives a command.
func anchor(file string) string {
	return "#" + strings.ReplaceAll(strings.TrimSuffix(file, ".md"), "_", "-")
}
