package envoyconfig_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"policyengine.dev/tools/pectl/envoyconfig"
)

// TestHelp proves that the help of each command is complete: it has every flag with its
// argument, every exit code, and no line that a terminal breaks. It also proves that the
// report of a wrong call points to the help.
func TestHelp(t *testing.T) {
	d := newDirectory(t, "")
	root := envoyconfig.Command()
	for _, tt := range []struct {
		c     *cobra.Command
		args  []string
		codes []string
	}{
		{root, nil, []string{"    0  ", "    1  ", "    2  "}},
		{root.Commands()[0], []string{"check"}, []string{"    0  ", "    1  ", "    2  ", "    3  "}},
	} {
		t.Run(tt.c.Name(), func(t *testing.T) {
			code, out, errors := d.pectl(append(tt.args, "--help")...)
			if code != 0 || errors != "" {
				t.Errorf("exit code %d, errors %q", code, errors)
			}
			tt.c.Flags().VisitAll(func(f *pflag.Flag) {
				if !strings.Contains(out, "--"+f.Name+" ") || !strings.Contains(out, strings.ReplaceAll(f.Usage, "`", "")) {
					t.Errorf("the help lacks --%s", f.Name)
				}
				if f.NoOptDefVal == "" && strings.Count(f.Usage, "`") != 2 {
					t.Errorf("--%s does not name its argument", f.Name)
				}
			})
			text, _, _ := strings.Cut(out, "Flags:\n")
			for line := range strings.SplitSeq(text, "\n") {
				if len(line) > 110 {
					t.Errorf("a long line: %s", line)
				}
			}
			for _, want := range append(tt.codes, "Usage:\n  pectl envoy-config", "Exit codes:") {
				if !strings.Contains(out, want) {
					t.Errorf("the help lacks %q:\n%s", want, out)
				}
			}
			code, out, errors = d.pectl(append(tt.args, "--no-such-flag")...)
			if code != 2 || out != "" || !strings.Contains(errors, "no-such-flag") || !strings.Contains(errors, "--help") {
				t.Errorf("an unknown flag: exit code %d, %q", code, errors)
			}
		})
	}
}
