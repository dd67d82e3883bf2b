package engine

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/admin"
	"policyengine.dev/runtime/commandline"
)

func (p *program) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:               "version",
		Short:             "Print the version of this binary",
		Args:              commandline.Args(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			if asJSON {
				return writeJSON(c.OutOrStdout(), admin.Version{Build: build(), Bundle: p.manifest})
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), Version())
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON: the version, and the bundle's manifest")
	return c
}

// build describes this binary.
func build() admin.Build { return admin.Build{Engine: Version(), Go: runtime.Version()} }

func moduleVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unversioned"
}

// Version describes this binary in one line: the module's version, if it was built from a
// version, and the version, operating system and architecture of Go.
func Version() string {
	return "policy-engine " + moduleVersion() + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
