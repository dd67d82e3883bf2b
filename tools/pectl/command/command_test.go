package command_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"policyengine.dev/tools/pectl/command"
)

// tool is a command line that says what it was called with.
func tool() *command.Command {
	var version string
	var force bool
	return &command.Command{Name: "tool", Short: "Does things.", Commands: []*command.Command{
		{Name: "thing", Short: "Looks after things.", Commands: []*command.Command{
			{
				Name: "new", Args: "NAME", Short: "Makes a thing.", Long: "A thing is what there is.",
				Flags: func(f *flag.FlagSet) {
					f.StringVar(&version, "version", "v1", "the `version` of the thing")
					f.BoolVar(&force, "force", false, "do it")
				},
				Run: func(_ context.Context, io command.IO, args []string) error {
					if err := command.ExactArgs(args, "NAME"); err != nil {
						return err
					}
					if args[0] == "bad" {
						return errors.New("bad things cannot be made")
					}
					fmt.Fprintln(io.Out, args, version, force)
					return nil
				},
			},
		}},
		{Name: "other", Short: "Does nothing.", Run: func(context.Context, command.IO, []string) error { return nil }},
		{
			Name: "write", Short: "Writes.", Run: func(_ context.Context, io command.IO, args []string) error {
				fmt.Fprintln(io.Out, "written", args)
				return nil
			},
			Commands: []*command.Command{{
				Name: "check", Short: "Checks.", Run: func(_ context.Context, io command.IO, args []string) error {
					fmt.Fprintln(io.Out, "bad", args)
					return command.ErrFindings
				},
			}},
		},
	}}
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		name, args string
		code       int
		// out and err are in what is written; empty means that nothing is.
		out, err string
	}{
		{"a command", "thing new x", 0, "[x] v1 false\n", ""},
		{"flags before the argument", "thing new --version v2 --force x", 0, "[x] v2 true\n", ""},
		{"flags behind the argument", "thing new x --version=v2 -force", 0, "[x] v2 true\n", ""},
		{"an argument that looks like a flag", "thing new --force -- --version", 0, "[--version] v1 true\n", ""},
		{"no argument", "thing new", 2, "", "tool thing new: NAME is missing\nusage: tool thing new NAME [--force] [--version VERSION]\nSee: tool thing new --help\n"},
		{"an argument too many", "thing new x y", 2, "", `there is an argument too many: "y"`},
		{"an unknown flag", "thing new x --versoin v2", 2, "", "flag provided but not defined: -versoin"},
		{"a failure", "thing new bad", 1, "", "tool thing new: bad things cannot be made\n"},
		{"nothing at all", "", 2, "", "usage: tool COMMAND"},
		{"a group", "thing", 2, "", "usage: tool thing COMMAND"},
		{"an unknown command", "thing nwe", 2, "", `tool thing: there is no command "nwe"; did you mean "new"?`},
		{"help for all", "--help", 0, "Does things.\n\nusage: tool COMMAND\n\ncommands:\n  thing ", ""},
		{"help for a group", "help thing", 0, "Looks after things.", ""},
		{"help for a command", "help thing new", 0, "Makes a thing.\n\nusage: tool thing new NAME [--force] [--version VERSION]\n\nA thing is what there is.\n\nflags:\n  --force                do it\n  --version VERSION      the version of the thing (default v1)\n", ""},
		{"help by flag", "thing new -h", 0, "Makes a thing.", ""},
		{"a command that is a group too", "write x", 0, "written [x]", ""},
		{"its member, which finds something", "write check x", 3, "bad [x]", ""},
		{"help for both", "help write", 0, "usage: tool write\n\ncommands:\n  check ", ""},
		{"help for the member", "write check --help", 0, "Checks.", ""},
		{"help for what does not exist", "help nothing", 2, "", `there is no command "nothing"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, err bytes.Buffer
			code := command.Main(t.Context(), tool(), strings.Fields(tt.args), command.IO{Out: &out, Err: &err})
			if code != tt.code {
				t.Errorf("the exit code is %d, want %d", code, tt.code)
			}
			for what, got := range map[string]struct{ got, want string }{"out": {out.String(), tt.out}, "err": {err.String(), tt.err}} {
				if !strings.Contains(got.got, got.want) || got.want == "" && got.got != "" {
					t.Errorf("%s is\n%s\nwant in it\n%s", what, got.got, got.want)
				}
			}
		})
	}
}
