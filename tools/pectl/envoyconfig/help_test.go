package envoyconfig_test

import (
	"flag"
	"strings"
	"testing"

	"policyengine.dev/tools/pectl/command"
	"policyengine.dev/tools/pectl/envoyconfig"
)

// TestHelp proves that the help of each command is complete: every flag with what it
// takes, every exit code, no line of text that a terminal breaks; and that a command
// called wrongly says where the help is.
func TestHelp(t *testing.T) {
	d := newDirectory(t, "")
	root := envoyconfig.Command()
	for _, tt := range []struct {
		c     *command.Command
		args  []string
		codes []string
	}{
		{root, nil, []string{"  0  ", "  1  ", "  2  "}},
		{root.Commands[0], []string{"check"}, []string{"  0  ", "  1  ", "  2  ", "  3  "}},
	} {
		t.Run(tt.c.Name, func(t *testing.T) {
			code, out, errors := d.pectl(append(tt.args, "--help")...)
			if code != 0 || errors != "" {
				t.Errorf("exit code %d, errors %q", code, errors)
			}
			flags := flag.NewFlagSet("", flag.ContinueOnError)
			tt.c.Flags(flags)
			flags.VisitAll(func(f *flag.Flag) {
				if !strings.Contains(out, "--"+f.Name+" ") || !strings.Contains(out, strings.ReplaceAll(f.Usage, "`", "")) {
					t.Errorf("nothing about --%s", f.Name)
				}
				if b, ok := f.Value.(interface{ IsBoolFlag() bool }); (!ok || !b.IsBoolFlag()) && strings.Count(f.Usage, "`") != 2 {
					t.Errorf("--%s does not say what it takes", f.Name)
				}
			})
			text, _, _ := strings.Cut(out, "flags:\n")
			for line := range strings.SplitSeq(text, "\n") {
				if len(line) > 110 {
					t.Errorf("a long line: %s", line)
				}
			}
			for _, want := range append(tt.codes, "usage: pectl envoy-config", "exit codes:") {
				if !strings.Contains(out, want) {
					t.Errorf("nothing about %q in\n%s", want, out)
				}
			}
			code, out, errors = d.pectl(append(tt.args, "--no-such-flag")...)
			if code != 2 || out != "" || !strings.Contains(errors, "no-such-flag") || !strings.Contains(errors, "--help") {
				t.Errorf("a flag that does not exist: exit code %d, %q", code, errors)
			}
		})
	}
}
