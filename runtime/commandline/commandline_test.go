package commandline_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"policyengine.dev/runtime/commandline"
)

// tool is a command line that prints what it was called with.
func tool() *cobra.Command {
	var version string
	var force bool
	create := &cobra.Command{
		Use: "new NAME", Short: "Creates a thing", Long: "Creates a thing with a name.", Args: commandline.Args("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] == "bad" {
				return errors.New("cannot create bad things")
			}
			if args[0] == "reserved" {
				return commandline.Usagef("the name %q is reserved", args[0])
			}
			fmt.Fprintln(c.OutOrStdout(), args, version, force)
			return nil
		},
	}
	create.Flags().StringVar(&version, "version", "v1", "`version` of the thing")
	create.Flags().BoolVar(&force, "force", false, "replace the thing if it exists")
	thing := &cobra.Command{Use: "thing", Short: "Manages things"}
	thing.AddCommand(create)
	write := &cobra.Command{
		Use: "write", Short: "Writes", Args: commandline.Args(),
		RunE: func(c *cobra.Command, args []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "written")
			return err
		},
	}
	write.AddCommand(&cobra.Command{
		Use: "check", Short: "Checks",
		RunE: func(c *cobra.Command, args []string) error {
			fmt.Fprintln(c.OutOrStdout(), "bad", args)
			return commandline.ErrFindings
		},
	})
	root := &cobra.Command{Use: "tool", Short: "Does things"}
	root.AddCommand(thing, write)
	return root
}

// TestCommandLine proves the exit code and both outputs of each kind of call.
func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		name, args string
		code       int
		// out and err are parts of the output; "" means no output.
		out, err string
	}{
		{"a command", "thing new x", 0, "[x] v1 false\n", ""},
		{"flags before the argument", "thing new --version v2 --force x", 0, "[x] v2 true\n", ""},
		{"flags after the argument", "thing new x --version=v2 --force", 0, "[x] v2 true\n", ""},
		{"an argument that looks like a flag", "thing new --force -- --version", 0, "[--version] v1 true\n", ""},
		{"a missing argument", "thing new", 2, "", "tool thing new: NAME is missing\nUsage: tool thing new NAME [flags]\nSee: tool thing new --help\n"},
		{"an argument too many", "thing new x y", 2, "", `unexpected argument "y"`},
		{"an argument that the command refuses", "thing new reserved", 2, "", "the name \"reserved\" is reserved\nUsage: "},
		{"an unknown flag", "thing new x --versoin v2", 2, "", "unknown flag: --versoin"},
		{"a long flag with one dash", "thing new x -force", 2, "", "unknown flag -force; did you mean --force?"},
		{"a failure", "thing new bad", 1, "", "tool thing new: cannot create bad things\n"},
		{"no command", "", 2, "", "Usage:\n  tool [command]"},
		{"a group without a command", "thing", 2, "", "Usage:\n  tool thing [command]"},
		{"an unknown command", "xyzzy", 2, "", "tool: there is no command \"xyzzy\"\nUsage: tool [command]\n"},
		{"an unknown command of a group", "thing nwe", 2, "", `tool thing: there is no command "nwe"; did you mean "new"?`},
		{"help", "--help", 0, "Usage:\n  tool [command]", ""},
		{"help by command", "help", 0, "Usage:\n  tool [command]", ""},
		{"help for a group", "help thing", 0, "Usage:\n  tool thing [command]", ""},
		{"help for a command", "help thing new", 0, "Creates a thing with a name.", ""},
		{"help by flag", "thing new -h", 0, "--version version", ""},
		{"a command that is also a group", "write", 0, "written", ""},
		{"a wrong argument of such a command", "write x", 2, "", `unexpected argument "x"`},
		{"findings", "write check x", 3, "bad [x]", ""},
		{"help for what does not exist", "help nothing", 2, "", `there is no command "nothing"`},
		{"a completion script", "completion bash", 0, "__start_tool", ""},
		{"completion of a command", "__complete thing n", 0, "new\tCreates a thing\n", "Completion ended with directive"},
		{"a completion script for an unknown shell", "completion cmd", 2, "", `there is no command "cmd"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, err bytes.Buffer
			code := commandline.Main(t.Context(), tool(), strings.Fields(tt.args), commandline.IO{Out: &out, Err: &err})
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for what, got := range map[string]struct{ got, want string }{"out": {out.String(), tt.out}, "err": {err.String(), tt.err}} {
				if !strings.Contains(got.got, got.want) || got.want == "" && got.got != "" {
					t.Errorf("%s is\n%s\nwant in it\n%s", what, got.got, got.want)
				}
			}
		})
	}
}
